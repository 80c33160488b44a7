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

// The worker's probe takes a pull that has not returned for 15 s for one that hangs.
func TestQueue_APullThatFindsNothingReturnsFromTimeToTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		got, err := NewQueue().Pull(t.Context(), 1)
		if len(got) != 0 || err != nil {
			t.Errorf("pulled %v, %v from an empty queue", got, err)
		}
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

func TestQueue_KeepsNoMemoryOfWhatWasPulled(t *testing.T) {
	q := NewQueue()
	push := func(n int) {
		entries := make([]application.Entry, n)
		for i := range entries {
			entries[i] = application.Entry{ID: domain.NewTaskID(time.Now()), QueuedAt: time.Now()}
		}
		if err := q.Push(t.Context(), entries...); err != nil {
			t.Fatal(err)
		}
	}
	pull := func(n int) {
		if got, err := q.Pull(t.Context(), n); err != nil || len(got) != n {
			t.Fatalf("pulled %d, %v, want %d", len(got), err, n)
		}
	}
	push(100_000)
	pull(100_000 - 3)
	for range 1000 {
		push(5)
		pull(5)
	}
	if room := cap(q.entries); room > 100 {
		t.Errorf("room for %d entries is kept for a backlog of 3", room)
	}
	pull(3)
	if room := cap(q.entries); room != 0 {
		t.Errorf("room for %d entries is kept for none", room)
	}
}
