package memory

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/contract"
)

func TestQueue(t *testing.T) {
	contract.Queue(t, func(*testing.T) application.Queue { return NewQueue() })
}

func TestQueue_APullWaitsForAsLongAsItIsToButNotForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// The worker's probe takes a pull that has not returned for 15 s for one that hangs.
		for wait, want := range map[time.Duration]time.Duration{
			0: 0, -time.Second: 0, time.Millisecond: time.Millisecond, time.Second: time.Second, time.Minute: 2 * time.Second,
		} {
			begin := time.Now()
			got, err := NewQueue().Pull(t.Context(), application.PullRequest{Queues: []domain.QueueName{"a", "b"}, Max: 1, Wait: wait})
			if len(got) != 0 || err != nil {
				t.Errorf("pulled %v, %v from an empty queue", got, err)
			}
			if took := time.Since(begin); took != want {
				t.Errorf("to wait for %v took %v, want %v", wait, took, want)
			}
		}
	})
}

func TestQueue_KeepsNoMemoryOfWhatWasPulled(t *testing.T) {
	q := NewQueue()
	name := application.Lane{Queue: "a", Priority: 3}
	pull := func(n int) []application.Entry {
		got, err := q.Pull(t.Context(), application.PullRequest{Queues: []domain.QueueName{"a"}, Max: n})
		if err != nil || len(got) != n {
			t.Fatalf("pulled %d, %v, want %d", len(got), err, n)
		}
		return got
	}
	push := func(n int) {
		entries := make([]application.Entry, n)
		for i := range entries {
			entries[i] = application.Entry{Lane: name, ID: domain.NewTaskID(time.Now()), QueuedAt: time.Now()}
		}
		if err := q.Push(t.Context(), entries...); err != nil {
			t.Fatal(err)
		}
	}
	putBack := func(entries []application.Entry) {
		if err := q.PutBack(t.Context(), entries...); err != nil {
			t.Fatal(err)
		}
	}
	push(100_000)
	putBack(pull(50_000))
	pull(100_000 - 3)
	for range 3000 {
		push(5)
		putBack(pull(3))
		pull(5)
	}
	if room := cap(q.lanes[name].pushed) + cap(q.lanes[name].returned); room > 100 {
		t.Errorf("room for %d entries is kept for a backlog of 3", room)
	}
	pull(3)
	if n := len(q.lanes); n != 0 {
		t.Errorf("%d lanes are kept for none", n)
	}
}
