package worker

import (
	"slices"
	"sync"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// How long a pull waits for an entry: pullWait, or shortly if an attempt that ends
// here may open a gate meanwhile.
const (
	pullWait      = 5 * time.Second
	pullWaitShort = 50 * time.Millisecond
	pullWaitLeast = time.Millisecond
)

// schedule says which queues a worker pulls from next, and how much: fair queueing
// orders those whose gates are open. It is safe for concurrent use.
type schedule struct {
	unblocked chan struct{} // holds a token after the end of an attempt opened a gate

	mu    sync.Mutex
	fair  fairQueueing
	gates gates
}

func newSchedule(queues []QueueWeight) *schedule {
	return &schedule{fair: newFairQueueing(queues), gates: newGates(queues), unblocked: make(chan struct{}, 1)}
}

// plan is what to pull next.
type plan struct {
	application.PullRequest           // of no queue: nothing, until something changes
	until                   time.Time // of no queue: when a gate opens
}

// next says what to pull into the free slots. The share of the first queue that is
// backlogged bounds the pull: a queue without entries takes no share, and is asked
// all the same.
func (s *schedule) next(free int, now time.Time) plan {
	s.mu.Lock()
	defer s.mu.Unlock()
	open := s.fair.order(func(name domain.QueueName) bool { return s.gates.open(name, now) })
	if len(open) == 0 {
		return plan{until: s.gates.firstOpening(now)}
	}
	first, most := share(open, free)
	if first != nil {
		most = min(most, s.gates.capacity(first.Name))
	}
	p := application.PullRequest{Max: most, Wait: s.gates.waitFor(now)}
	for _, q := range open {
		if s.gates.capacity(q.Name) < most { // one of the next pulls is for it
			p.Wait = 0
			continue
		}
		p.Queues = append(p.Queues, q.Name)
	}
	return plan{PullRequest: p}
}

// open are those of the queues whose gates are open, in the order in which to pull.
func (s *schedule) open(queues []domain.QueueName, now time.Time) []domain.QueueName {
	s.mu.Lock()
	defer s.mu.Unlock()
	var open []domain.QueueName
	for _, q := range s.fair.order(func(name domain.QueueName) bool {
		return slices.Contains(queues, name) && s.gates.open(name, now)
	}) {
		open = append(open, q.Name)
	}
	return open
}

// pulled says what a pull from the queues has brought. Those before the one that
// gave have no entries, and need no gate.
func (s *schedule) pulled(from []domain.QueueName, entries []application.Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range from {
		if len(entries) > 0 && entries[0].Queue == name {
			s.fair.serve(name, len(entries))
			s.gates.pulled(name)
			return
		}
		s.fair.empty(name)
		s.gates.remove(name)
	}
}

// claimed says what a claim of the entries has met in their queues.
func (s *schedule) claimed(entries []application.Entry, limited []application.LimitedQueue, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range entries {
		s.gates.remove(e.Queue)
	}
	for _, l := range limited {
		s.fair.refund(l.Name, len(l.Refused))
		s.gates.limit(l.Name, l.Capacity, now)
	}
}

// attemptEnded says that an attempt of a task of the queue has ended here.
func (s *schedule) attemptEnded(name domain.QueueName, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.gates.attemptEnded(name, now) {
		return
	}
	notify(s.unblocked)
}
