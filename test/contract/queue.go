package contract

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/application"
)

// queueLimit is how long a check waits for what has to happen promptly. It is
// below the time after which a queue may look again by itself.
const queueLimit = time.Second

// Queue is the suite of application.Queue. open returns an empty queue of its
// own for the test, whose server nothing happens to: so nothing may be lost or
// doubled.
func Queue(t *testing.T, open func(t *testing.T) application.Queue) {
	for name, check := range map[string]func(*testing.T, application.Queue){
		"WhatIsPushedFirstIsPulledFirst":          queueFirstInFirstOut,
		"PullTakesAtMostN":                        queueAtMostN,
		"PullTakesWhatIsThereWithoutWaiting":      queueNoWaitForMore,
		"PullWaitsUntilThereIsOne":                queueWaits,
		"EveryWaitingPullIsWokenWhenThereIsOne":   queueWakesAll,
		"PullComesBackWhenNothingComes":           queueComesBack,
		"PullEndsWithItsContext":                  queueEndsWithContext,
		"PullWithAnEndedContextTakesNothing":      queueEndedContext,
		"NothingIsLostWhenPullsAreStopped":        queueStopsLoseNothing,
		"OfManyPullersOneGetsTheEntry":            queueManyPullers,
		"ConcurrentPushesKeepTheirOwnOrder":       queueManyPushers,
		"OldestIsTheTimeOfTheHead":                queueOldest,
		"LengthCountsTheEntries":                  queueLength,
		"PushOfNothingChangesNothing":             queuePushNothing,
		"AnEntryMayBePushedTwice":                 queueDoubles,
		"ALargeBatchIsTakenWholeAndKeepsItsOrder": queueLargeBatch,
	} {
		t.Run(name, func(t *testing.T) { t.Parallel(); check(t, open(t)) })
	}
}

func queueFirstInFirstOut(t *testing.T, q application.Queue) {
	all := queueEntries(50)
	queuePush(t, q, all[:1]...)
	queuePush(t, q, all[1:20]...)
	queuePush(t, q, all[20:]...)
	queueWant(t, queuePull(t, q, 7, len(all)), all)
}

func queueAtMostN(t *testing.T, q application.Queue) {
	all := queueEntries(10)
	queuePush(t, q, all...)
	for _, n := range []int{1, 3, 6} {
		got, err := q.Pull(t.Context(), queueRequest(n))
		if err != nil {
			t.Fatal(err)
		}
		queueWant(t, got, all[:n])
		all = all[n:]
	}
}

func queueNoWaitForMore(t *testing.T, q application.Queue) {
	all := queueEntries(3)
	queuePush(t, q, all...)
	begin := time.Now()
	got, err := q.Pull(t.Context(), queueRequest(100))
	if err != nil {
		t.Fatal(err)
	}
	queueWant(t, got, all)
	if took := time.Since(begin); took > queueLimit {
		t.Errorf("it took %v", took)
	}
}

func queueWaits(t *testing.T, q application.Queue) {
	all := queueEntries(3)
	for _, e := range all {
		pulled := queuePullOne(t, q)
		select {
		case got := <-pulled:
			t.Fatalf("pulled %v from an empty queue", got)
		case <-time.After(50 * time.Millisecond):
		}
		queuePush(t, q, e)
		select {
		case got := <-pulled:
			queueWant(t, got, []application.Entry{e})
		case <-time.After(queueLimit):
			t.Fatal("the push did not wake the pull")
		}
	}
}

func queueWakesAll(t *testing.T, q application.Queue) {
	all := queueEntries(4)
	var waiting []<-chan []application.Entry
	for range all {
		waiting = append(waiting, queuePullOne(t, q))
	}
	time.Sleep(50 * time.Millisecond) // until they wait; if one does not yet, it finds its entry at once
	queuePush(t, q, all...)
	limit := time.After(queueLimit)
	var got []application.Entry
	for _, pulled := range waiting {
		select {
		case entries := <-pulled:
			got = append(got, entries...)
		case <-limit:
			t.Fatalf("%d of %d waiting pulls have got an entry", len(got), len(all))
		}
	}
	queueWantOnce(t, got, all)
}

func queueEndsWithContext(t *testing.T, q application.Queue) {
	canceled, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	deadline, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	for _, ctx := range []context.Context{canceled, deadline} {
		var err error
		begin := time.Now()
		for err == nil { // a queue may return none and no error
			var got []application.Entry
			if got, err = q.Pull(ctx, queueRequest(10)); len(got) > 0 {
				t.Fatalf("pulled %v from an empty queue", got)
			}
			if took := time.Since(begin); took > queueLimit {
				t.Fatalf("it took %v, error %v", took, err)
			}
		}
		if !errors.Is(err, ctx.Err()) {
			t.Errorf("got the error %v, want %v", err, ctx.Err())
		}
	}
	// What was interrupted takes nothing any more.
	all := queueEntries(2)
	queuePush(t, q, all...)
	queueWant(t, queuePull(t, q, 10, 2), all)
}

func queueEndedContext(t *testing.T, q application.Queue) {
	all := queueEntries(2)
	queuePush(t, q, all...)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got, err := q.Pull(ctx, queueRequest(1)); len(got) > 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("pulled %v, error %v", got, err)
	}
	queueWant(t, queuePull(t, q, 10, 2), all)
}

// queueStopsLoseNothing stops pulls at random moments, most of them while they
// wait, while entries come in.
func queueStopsLoseNothing(t *testing.T, q application.Queue) {
	all := queueEntries(2000)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var (
		mu      sync.Mutex
		got     []application.Entry
		stopped int
	)
	var pullers sync.WaitGroup
	for range 4 {
		pullers.Go(func() {
			for ctx.Err() == nil {
				pull, stop := context.WithTimeout(ctx, rand.N(4*time.Millisecond))
				entries, err := q.Pull(pull, queueRequest(1+rand.IntN(5)))
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
	// What is still there now is enough for the pullers; they end when they have it.
	pullers.Wait()
	queueWantOnce(t, got, all)
	if n, err := q.Length(t.Context(), defaultList); n != 0 || err != nil {
		t.Errorf("%d entries are left, error %v", n, err)
	}
	if stopped < 20 {
		t.Errorf("only %d pulls were stopped: this shows nothing", stopped)
	}
}

func queueManyPullers(t *testing.T, q application.Queue) {
	all := queueEntries(2000)
	var (
		mu  sync.Mutex
		got []application.Entry
	)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var group sync.WaitGroup
	for range 10 {
		group.Go(func() {
			for ctx.Err() == nil {
				entries, err := q.Pull(ctx, queueRequest(20))
				if err != nil && ctx.Err() == nil {
					t.Errorf("pull: %v", err)
					return
				}
				mu.Lock()
				if got = append(got, entries...); len(got) >= len(all) {
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

// A worker shows that it makes progress by the turns of its pull.
func queueComesBack(t *testing.T, q application.Queue) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if got, err := q.Pull(ctx, queueRequest(1)); len(got) != 0 || err != nil {
		t.Fatalf("a pull from an empty queue: %v, error %v; want none and none within 10 s", got, err)
	}
}

func queueOldest(t *testing.T, q application.Queue) {
	if at, ok, err := queueOldestOf(t, q); ok || err != nil {
		t.Fatalf("the oldest of none is %v, %v, error %v", at, ok, err)
	}
	all := queueEntries(3)
	all[0].QueuedAt = all[2].QueuedAt.Add(time.Hour) // the head counts, not the time
	queuePush(t, q, all...)
	for _, e := range all {
		at, ok, err := queueOldestOf(t, q)
		if !ok || err != nil || !at.Equal(e.QueuedAt) {
			t.Fatalf("the oldest is %v, %v, error %v, want %v", at, ok, err, e.QueuedAt)
		}
		queueWant(t, queuePull(t, q, 1, 1), []application.Entry{e})
	}
	if at, ok, err := queueOldestOf(t, q); ok || err != nil {
		t.Errorf("the oldest of none is %v, %v, error %v", at, ok, err)
	}
}

func queueLength(t *testing.T, q application.Queue) {
	want := func(n int) {
		t.Helper()
		if got, err := q.Length(t.Context(), defaultList); got != n || err != nil {
			t.Fatalf("the length is %d, error %v, want %d", got, err, n)
		}
	}
	want(0)
	queuePush(t, q, queueEntries(7)...)
	want(7)
	queuePull(t, q, 3, 3)
	want(4)
	queuePush(t, q, queueEntries(1)...)
	want(5)
	queuePull(t, q, 5, 5)
	want(0)
}

func queuePushNothing(t *testing.T, q application.Queue) {
	queuePush(t, q)
	if n, err := q.Length(t.Context(), defaultList); n != 0 || err != nil {
		t.Errorf("the length is %d, error %v", n, err)
	}
}

func queueDoubles(t *testing.T, q application.Queue) {
	e := queueEntries(1)[0]
	queuePush(t, q, e)
	queuePush(t, q, e)
	queueWant(t, queuePull(t, q, 10, 2), []application.Entry{e, e})
}

func queueLargeBatch(t *testing.T, q application.Queue) {
	all := queueEntries(10_000)
	queuePush(t, q, all...)
	if n, err := q.Length(t.Context(), defaultList); n != len(all) || err != nil {
		t.Fatalf("the length is %d, error %v", n, err)
	}
	queueWant(t, queuePull(t, q, 10_000, len(all)), all)
}
