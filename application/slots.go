package application

import (
	"context"
	"sync"
)

// slots counts how many more tasks a worker may take.
type slots struct {
	mu    sync.Mutex
	free  int
	freed chan struct{} // holds a token after a release
}

func newSlots(n int) *slots { return &slots{free: n, freed: make(chan struct{}, 1)} }

// takeAll waits until a slot is free and takes all that are.
func (s *slots) takeAll(ctx context.Context) (int, error) {
	for {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		s.mu.Lock()
		n := s.free
		s.free = 0
		s.mu.Unlock()
		if n > 0 {
			return n, nil
		}
		select {
		case <-s.freed:
		case <-ctx.Done():
		}
	}
}

// release gives n slots back.
func (s *slots) release(n int) {
	if n == 0 {
		return
	}
	s.mu.Lock()
	s.free += n
	s.mu.Unlock()
	select {
	case s.freed <- struct{}{}:
	default:
	}
}
