package contract

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// queueMany makes n entries, of several queues and priorities by turns.
func queueMany(n int) ([]domain.QueueName, []application.Entry) {
	queues := []domain.QueueName{domain.DefaultQueue, "a", "b"}
	entries := queueEntries(n)
	for i := range entries {
		entries[i].Lane = application.Lane{Queue: queues[i%len(queues)], Priority: 3 * (i % 4)}
	}
	return queues, entries
}

// queueAnyOrder asks for entries of the queues in a random order.
func queueAnyOrder(queues []domain.QueueName, most int, wait time.Duration) application.PullRequest {
	queues = slices.Clone(queues)
	rand.Shuffle(len(queues), func(i, j int) { queues[i], queues[j] = queues[j], queues[i] })
	return application.PullRequest{Queues: queues, Max: 1 + rand.IntN(most), Wait: wait}
}

// queueStopsLoseNothing stops pulls at random moments, most of them while they
// wait, while entries come in.
func queueStopsLoseNothing(t *testing.T, q application.Queue) {
	queues, all := queueMany(2000)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var (
		mu      sync.Mutex
		got     []application.Entry
		stopped int
		pushed  atomic.Bool
	)
	var pullers sync.WaitGroup
	for i := range 4 {
		wait := 5 * time.Second
		if i == 0 {
			wait = 0
		}
		pullers.Go(func() {
			for ctx.Err() == nil {
				limit := rand.N(4 * time.Millisecond)
				if pushed.Load() { // the rest is fetched without haste
					limit = 200 * time.Millisecond
				} else if wait == 0 {
					time.Sleep(rand.N(2 * time.Millisecond))
				}
				pull, stop := context.WithTimeout(ctx, limit)
				entries, err := q.Pull(pull, queueAnyOrder(queues, 5, wait))
				if err != nil && pull.Err() == nil {
					t.Errorf("pull: %v", err)
					cancel()
				}
				stop()
				mu.Lock()
				got = append(got, entries...)
				if err != nil {
					stopped++
				}
				if len(got) >= len(all) {
					cancel()
				}
				mu.Unlock()
			}
		})
	}
	for rest := all; len(rest) > 0; {
		n := min(1+rand.IntN(4), len(rest))
		queuePush(t, q, rest[:n]...)
		rest = rest[n:]
		time.Sleep(rand.N(2 * time.Millisecond))
	}
	pushed.Store(true)
	// What is still there now is enough for the pullers; they end when they have it.
	pullers.Wait()
	queueWantOnce(t, got, all)
	queueWantEmpty(t, q, all)
	if stopped < 20 {
		t.Errorf("only %d pulls were stopped: this shows nothing", stopped)
	}
}

// queueManyPullers has pullers that also put back some of what they pull.
func queueManyPullers(t *testing.T, q application.Queue) {
	queues, all := queueMany(2000)
	var (
		mu   sync.Mutex
		got  []application.Entry
		back int
	)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var group sync.WaitGroup
	for range 10 {
		group.Go(func() {
			for ctx.Err() == nil {
				entries, err := q.Pull(ctx, queueAnyOrder(queues, 20, time.Second))
				if err != nil && ctx.Err() == nil {
					t.Errorf("pull: %v", err)
					return
				}
				kept := rand.IntN(len(entries) + 1)
				if err := q.PutBack(context.WithoutCancel(ctx), entries[kept:]...); err != nil {
					t.Errorf("put back: %v", err)
				}
				mu.Lock()
				back += len(entries) - kept
				if got = append(got, entries[:kept]...); len(got) >= len(all) {
					cancel()
				}
				mu.Unlock()
			}
		})
	}
	for batch := range slices.Chunk(all, 100) {
		group.Go(func() {
			if err := q.Push(t.Context(), batch...); err != nil {
				t.Errorf("push: %v", err)
			}
		})
	}
	group.Wait()
	queueWantOnce(t, got, all)
	queueWantEmpty(t, q, all)
	if back < 100 {
		t.Errorf("only %d entries were put back: this shows nothing", back)
	}
}

func queueManyPushers(t *testing.T, q application.Queue) {
	const pushers, each = 8, 50
	all := queueEntries(pushers * each)
	var group sync.WaitGroup
	for own := range slices.Chunk(all, each) {
		group.Go(func() {
			for batch := range slices.Chunk(own, 5) {
				if err := q.Push(t.Context(), batch...); err != nil {
					t.Errorf("push: %v", err)
				}
			}
		})
	}
	group.Wait()
	got := queuePull(t, q, 1000, len(all))
	queueWantOnce(t, got, all)
	for own := range slices.Chunk(all, each) {
		mine := slices.DeleteFunc(slices.Clone(got), func(e application.Entry) bool {
			return !slices.ContainsFunc(own, func(o application.Entry) bool { return o.ID == e.ID })
		})
		queueWant(t, mine, own)
	}
}

// queueWantEmpty checks that nothing is left in the lanes of the entries.
func queueWantEmpty(t *testing.T, q application.Queue, entries []application.Entry) {
	t.Helper()
	lanes := map[application.Lane]bool{}
	for _, e := range entries {
		lanes[e.Lane] = true
	}
	for l := range lanes {
		if oldest, err := q.Oldest(t.Context(), l); len(oldest) != 0 || err != nil {
			t.Errorf("entries are left in %v: %v, error %v", l, oldest, err)
		}
	}
}
