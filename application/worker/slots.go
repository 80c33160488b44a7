package worker

import (
	"context"
	"runtime"
	"sync"
)

// slots counts how many more tasks a worker may take. Each takes a slot, until its
// handler has returned, and a place, until its outcome is stored. There are twice as
// many places as slots: outcomes are stored while the next tasks run, and when the
// store is away the worker soon takes no more. When places have run short it
// waits for some, so as not to go on task by task.
type slots struct {
	mu     sync.Mutex
	free   int
	places int
	some   int           // half as many as slots
	freed  chan struct{} // holds a token after more may be taken
}

func newSlots(n int) *slots {
	return &slots{free: n, places: 2 * n, some: max(1, n/2), freed: make(chan struct{}, 1)}
}

// takeAll waits until a task may be taken, and takes slots and places for as many
// as may be.
func (s *slots) takeAll(ctx context.Context) (int, error) {
	for {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		s.mu.Lock()
		n := s.most()
		s.free -= n
		s.places -= n
		s.mu.Unlock()
		if n > 0 {
			return n, nil
		}
		select {
		case <-s.freed:
			runtime.Gosched() // others may be about to give theirs back
		case <-ctx.Done():
		}
	}
}

// release gives back what was taken for n tasks that did not come.
func (s *slots) release(n int) { s.give(n, n) }

// returned gives the slot of a task back, whose handler has returned.
func (s *slots) returned() { s.give(1, 0) }

// stored gives the place of a task back, whose outcome is stored.
func (s *slots) stored() { s.give(0, 1) }

func (s *slots) give(free, places int) {
	s.mu.Lock()
	s.free += free
	s.places += places
	more := s.most() > 0
	s.mu.Unlock()
	if !more {
		return
	}
	select {
	case s.freed <- struct{}{}:
	default:
	}
}

// most is how many tasks may be taken, while the caller has the lock.
func (s *slots) most() int {
	if s.places < s.some {
		return 0
	}
	return min(s.free, s.places)
}
