package worker

import (
	"context"
	"runtime"
	"sync"
)

// slots limits how many tasks a worker takes. A task counts as running until its
// handler returns and as in flight until its outcome is stored. As many may run as
// there are slots, and twice as many may be in flight: outcomes are stored while the
// next tasks run, and a worker whose store is away soon takes no more. Once the
// tasks in flight have reached their limit, pulling resumes at half the slots' worth
// of room, so as not to go on task by task.
//
// A handler that ignored the end of its context runs on without a slot, as
// abandoned. At maxAbandoned of them no task is taken until one returns.
type slots struct {
	max, maxAbandoned int
	resumeAt          int           // room in flight below which nothing is taken
	changed           chan struct{} // holds a token after more may be taken

	mu        sync.Mutex
	running   int
	inFlight  int
	abandoned int
}

// newSlots makes n slots; maxAbandoned 0 stands for n.
func newSlots(n, maxAbandoned int) *slots {
	if maxAbandoned == 0 {
		maxAbandoned = n
	}
	return &slots{max: n, maxAbandoned: maxAbandoned, resumeAt: max(1, n/2), changed: make(chan struct{}, 1)}
}

// acquireAll waits until a task may be taken, and counts as many as may be as
// running and in flight.
func (s *slots) acquireAll(ctx context.Context) (int, error) {
	for {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		if n := s.tryAcquireAll(); n > 0 {
			return n, nil
		}
		select {
		case <-s.changed:
			// Handlers that are about to return make the next claim larger: of 80 tasks
			// instead of 7 with 100 slots, when handlers return at once.
			runtime.Gosched()
		case <-ctx.Done():
		}
	}
}

func (s *slots) tryAcquireAll() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.available()
	s.running += n
	s.inFlight += n
	return n
}

// available is how many tasks may be taken, while the caller has the lock.
func (s *slots) available() int {
	room := 2*s.max - s.inFlight
	if room < s.resumeAt || s.abandoned >= s.maxAbandoned {
		return 0
	}
	return min(s.max-s.running, room)
}

// release takes back the count of n tasks that did not come.
func (s *slots) release(n int) { s.add(-n, -n, 0) }

// returned says that the handler of a task has returned.
func (s *slots) returned() { s.add(-1, 0, 0) }

// abandon says that the handler of a task is left behind: it runs without a slot.
func (s *slots) abandon() { s.add(-1, 0, 1) }

// abandonedReturned says that a handler which was left behind has returned after all.
func (s *slots) abandonedReturned() { s.add(0, 0, -1) }

// stored says that the outcome of a task is stored.
func (s *slots) stored() { s.add(0, -1, 0) }

func (s *slots) add(running, inFlight, abandoned int) {
	s.mu.Lock()
	s.running += running
	s.inFlight += inFlight
	s.abandoned += abandoned
	more := s.available() > 0
	s.mu.Unlock()
	if !more {
		return
	}
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// stuck returns the number of handlers left behind, and whether it has reached the
// limit.
func (s *slots) stuck() (abandoned int, full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.abandoned, s.abandoned >= s.maxAbandoned
}
