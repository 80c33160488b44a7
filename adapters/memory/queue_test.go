package memory

import (
	"testing"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/contract"
)

func TestQueue(t *testing.T) {
	contract.Queue(t, func(*testing.T) application.Queue { return NewQueue() })
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
