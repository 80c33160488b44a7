package worker

import (
	"context"
	"runtime"
	"sync"

	"github.com/millrace/millrace/domain"
)

// slots limits how many tasks a worker takes. A task counts as running until its
// handler returns and as in flight until its outcome is stored. As many may run as
// there are slots, and twice as many may be in flight: outcomes are stored while the
// next tasks run, and a worker whose store is away soon takes no more. Once the
// tasks in flight have reached their limit, pulling resumes at half the slots' worth
// of room, so as not to go on task by task.
//
// A queue cannot take the last slots: one is reserved for each queue that has no task
// running, beside the one that is pulled from, though never more than half of all. So
// handlers of one queue that hang hold up no other queue. What is reserved is acquired
// one slot at a time, for those queues alone.
//
// A handler that ignored the end of its context runs on without a slot, as
// abandoned. At maxAbandoned of them no task is taken until one returns.
type slots struct {
	max, maxAbandoned int
	queues            []domain.QueueName
	resumeAt          int           // room in flight below which nothing is taken
	changed           chan struct{} // holds a token after more may be taken
	reservable        chan struct{} // holds a token after a reserved slot may be

	mu        sync.Mutex
	acquired  int                      // for tasks that are yet to come
	reserved  bool                     // a reserved slot is acquired, for a task that is yet to come
	running   int                      // tasks
	byQueue   map[domain.QueueName]int // those of each queue; of none: no entry
	inFlight  int
	abandoned int
}

// newSlots makes n slots for tasks of the queues; maxAbandoned 0 stands for n.
func newSlots(n, maxAbandoned int, queues ...domain.QueueName) *slots {
	if maxAbandoned == 0 {
		maxAbandoned = n
	}
	return &slots{
		max: n, maxAbandoned: maxAbandoned, queues: queues, resumeAt: max(1, n/2),
		changed: make(chan struct{}, 1), reservable: make(chan struct{}, 1), byQueue: map[domain.QueueName]int{},
	}
}

// acquireAll waits until a task of any queue may be taken, and counts as many as may
// be as in flight.
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
	s.acquired += n
	s.inFlight += n
	return n
}

// acquireReserved waits until there is no slot but a reserved one, and takes it for a
// task of one of the queues that it returns: none of them has a task running.
func (s *slots) acquireReserved(ctx context.Context) ([]domain.QueueName, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if queues := s.tryAcquireReserved(); len(queues) > 0 {
			return queues, nil
		}
		select {
		case <-s.reservable:
		case <-ctx.Done():
		}
	}
}

func (s *slots) tryAcquireReserved() (idle []domain.QueueName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.mayReserve() {
		return nil
	}
	for _, q := range s.queues {
		if s.byQueue[q] == 0 {
			idle = append(idle, q)
		}
	}
	s.reserved = true
	s.inFlight++
	return idle
}

// available is how many tasks of any queue may be taken, while the caller has the lock.
func (s *slots) available() int {
	if !s.open() {
		return 0
	}
	kept := s.reserve()
	if s.reserved {
		kept = max(1, kept)
	}
	return max(0, min(s.max-s.running-s.acquired-kept, s.room()))
}

// mayReserve reports whether a reserved slot may be taken: whoever pulls from all
// queues has none left to take, while the caller has the lock.
func (s *slots) mayReserve() bool {
	return s.open() && !s.reserved && s.acquired == 0 && s.reserve() > 0 && s.running < s.max && s.available() == 0
}

// open reports whether any task may be taken at all, while the caller has the lock.
func (s *slots) open() bool { return s.room() >= s.resumeAt && s.abandoned < s.maxAbandoned }

// room is how many more tasks may be in flight, while the caller has the lock.
func (s *slots) room() int { return 2*s.max - s.inFlight }

// use is how the slots are in use, while the caller has the lock.
func (s *slots) use() domain.SlotUse {
	return domain.SlotUse{Slots: s.max, Running: s.running, Queues: len(s.queues), Busy: len(s.byQueue)}
}

// reserve is how many slots are kept for queues with no task running, while the caller
// has the lock.
func (s *slots) reserve() int { return s.use().Kept() }

// release takes back n slots that acquireAll took for tasks that did not come.
func (s *slots) release(n int) {
	s.change(func() { s.acquired, s.inFlight = s.acquired-n, s.inFlight-n })
}

// releaseReserved takes back the slot of acquireReserved, as no task came.
func (s *slots) releaseReserved() {
	s.change(func() { s.reserved, s.inFlight = false, s.inFlight-1 })
}

// occupy says whose task has come into a slot that acquireAll took.
func (s *slots) occupy(queue domain.QueueName) {
	s.change(func() {
		s.acquired--
		s.begin(queue)
	})
}

// occupyReserved says whose task has come into the slot that acquireReserved took.
func (s *slots) occupyReserved(queue domain.QueueName) {
	s.change(func() {
		s.reserved = false
		s.begin(queue)
	})
}

// returned says that the handler of a task of the queue has returned.
func (s *slots) returned(queue domain.QueueName) { s.change(func() { s.end(queue) }) }

// abandon says that the handler of a task is left behind: it runs without a slot.
func (s *slots) abandon(queue domain.QueueName) {
	s.change(func() {
		s.end(queue)
		s.abandoned++
	})
}

// abandonedReturned says that a handler which was left behind has returned after all.
func (s *slots) abandonedReturned() { s.change(func() { s.abandoned-- }) }

// stored says that the outcome of a task is stored.
func (s *slots) stored() { s.change(func() { s.inFlight-- }) }

func (s *slots) begin(queue domain.QueueName) {
	s.running++
	s.byQueue[queue]++
}

func (s *slots) end(queue domain.QueueName) {
	s.running--
	if s.byQueue[queue]--; s.byQueue[queue] == 0 {
		delete(s.byQueue, queue)
	}
}

// change makes the change, and wakes those who may take a task after it.
func (s *slots) change(do func()) {
	s.mu.Lock()
	do()
	more, reservable := s.available() > 0, s.mayReserve()
	s.mu.Unlock()
	if more {
		notify(s.changed)
	}
	if reservable {
		notify(s.reservable)
	}
}

// notify leaves a token, unless there is one.
func notify(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Slots is how a worker uses its slots.
type Slots struct {
	Max       int // tasks that may run at once
	Busy      int // tasks that run
	Abandoned int // handlers that run on though their context has ended, without a slot
}

func (s *slots) inUse() Slots {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Slots{Max: s.max, Busy: s.running, Abandoned: s.abandoned}
}

// stuck returns the number of handlers left behind, and whether it has reached the
// limit.
func (s *slots) stuck() (abandoned int, full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.abandoned, s.abandoned >= s.maxAbandoned
}
