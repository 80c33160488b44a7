package contract

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// queueEntries makes n entries of the default lane, whose times differ by a
// microsecond.
func queueEntries(n int) []application.Entry { return queueEntriesOf(defaultList, n) }

func queueEntriesOf(l application.Lane, n int) []application.Entry {
	start := time.Date(2026, 2, 28, 23, 59, 59, 999_990_000, time.UTC)
	entries := make([]application.Entry, n)
	for i := range entries {
		at := start.Add(time.Duration(i) * time.Microsecond)
		entries[i] = application.Entry{Lane: l, ID: domain.NewTaskID(at), QueuedAt: at}
	}
	return entries
}

// queueRequest asks for at most n entries, and waits for as long as the queue likes.
func queueRequest(n int) application.PullRequest {
	return application.PullRequest{Queues: []domain.QueueName{domain.DefaultQueue}, Max: n, Wait: 5 * time.Second}
}

func queuePush(t *testing.T, q application.Queue, entries ...application.Entry) {
	t.Helper()
	if err := q.Push(t.Context(), entries...); err != nil {
		t.Fatalf("push of %d: %v", len(entries), err)
	}
}

func queueBack(t *testing.T, q application.Queue, entries ...application.Entry) {
	t.Helper()
	if err := q.PutBack(t.Context(), entries...); err != nil {
		t.Fatalf("put %d back: %v", len(entries), err)
	}
}

// queueTake pulls once.
func queueTake(t *testing.T, q application.Queue, p application.PullRequest) []application.Entry {
	t.Helper()
	got, err := q.Pull(t.Context(), p)
	if err != nil {
		t.Fatalf("pull: %v", err)
	}
	return got
}

// queuePull pulls, n at a time, until it has got so many entries.
func queuePull(t *testing.T, q application.Queue, n, total int) []application.Entry {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var all []application.Entry
	for len(all) < total {
		got, err := q.Pull(ctx, queueRequest(n))
		if err != nil {
			t.Fatalf("pull after %d of %d entries: %v", len(all), total, err)
		}
		if len(got) > n {
			t.Fatalf("pulled %d, want at most %d", len(got), n)
		}
		all = append(all, got...)
	}
	return all
}

// queuePullOne pulls one entry of the default queue in the background.
func queuePullOne(t *testing.T, q application.Queue) <-chan []application.Entry {
	return queuePullBehind(t, q, queueRequest(1))
}

// queuePullBehind pulls in the background until there is something.
func queuePullBehind(t *testing.T, q application.Queue, p application.PullRequest) <-chan []application.Entry {
	pulled := make(chan []application.Entry, 1)
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		for {
			got, err := q.Pull(ctx, p)
			if err != nil || len(got) > 0 {
				pulled <- got
				return
			}
		}
	})
	t.Cleanup(func() { cancel(); done.Wait() })
	return pulled
}

// queueWant checks the entries and their order.
func queueWant(t *testing.T, got, want []application.Entry) {
	t.Helper()
	if !slices.EqualFunc(got, want, queueSame) {
		t.Fatalf("got %s, want %s", queueText(got), queueText(want))
	}
}

// queueWantOnce checks that each entry came once, in any order.
func queueWantOnce(t *testing.T, got, want []application.Entry) {
	t.Helper()
	times := make(map[domain.TaskID]int)
	for _, e := range got {
		times[e.ID]++
	}
	lost := 0
	for _, e := range want {
		if times[e.ID] == 0 {
			lost++
		}
	}
	if lost > 0 || len(got) != len(want) {
		t.Fatalf("got %d entries, want %d; %d are lost", len(got), len(want), lost)
	}
}

// usuallyWithin fails the test unless three tries took no longer than the limit,
// before three others took longer. A busy machine is late now and then; a queue that
// waits until its time is over is late each time.
func usuallyWithin(t *testing.T, limit time.Duration, what string, try func() time.Duration) {
	t.Helper()
	const enough = 3
	var late []time.Duration
	for good := 0; good < enough; {
		took := try()
		if took <= limit {
			good++
			continue
		}
		if late = append(late, took); len(late) == enough {
			t.Fatalf("%s took %v, want at most %v", what, late, limit)
		}
	}
}

// queueArrives waits for what a pull in the background brings, and returns how
// long that took.
func queueArrives(t *testing.T, pulled <-chan []application.Entry, want []application.Entry) time.Duration {
	t.Helper()
	begin := time.Now()
	select {
	case got := <-pulled:
		queueWant(t, got, want)
	case <-time.After(patience):
		t.Fatal("the pull has brought nothing")
	}
	return time.Since(begin)
}

func queueSame(a, b application.Entry) bool {
	return a.ID == b.ID && a.Lane == b.Lane && a.QueuedAt.Equal(b.QueuedAt)
}

func queueText(entries []application.Entry) string {
	shown := entries[:min(5, len(entries))]
	return fmt.Sprintf("%d entries, the first %v", len(entries), shown)
}
