package worker

import (
	"math"
	"time"

	"github.com/millrace/millrace/domain"
)

// When a queue without room is tried again: soon if an attempt ended while the
// claim was under way, which may have counted it or not; and after a second at the
// latest, as the limits of the queue may have changed.
const (
	retrySoon   = 20 * time.Millisecond
	retryLatest = time.Second
)

// gates tracks how much room there is in the queues that have limits, as claims
// met them: no more is pulled from such a queue than it has room for, and nothing
// until it may have room again. It is not safe for concurrent use.
type gates map[domain.QueueName]*gate

// gate is what is known of the limits of one queue.
type gate struct {
	limited   bool // the last claim met a limit
	limitedBy domain.Limit
	capacity  int       // entries to pull; 0: one, as a trial
	until     time.Time // nothing is pulled before

	// attemptEnded: an attempt of the queue has ended here since the last pull that
	// brought entries of it.
	attemptEnded bool
}

func newGates(queues []QueueWeight) gates {
	g := gates{}
	for _, q := range queues {
		g[q.Name] = &gate{}
	}
	return g
}

// open reports whether the queue may be pulled from.
func (g gates) open(name domain.QueueName, now time.Time) bool {
	q := g[name]
	return !q.limited || !q.until.After(now)
}

// capacity is how many entries to pull from the queue, at most.
func (g gates) capacity(name domain.QueueName) int {
	if q := g[name]; q.limited {
		return max(1, q.capacity)
	}
	return math.MaxInt
}

// waitFor is how long a pull from the queues that are open may wait: until the
// next gate opens, or shortly if an attempt that ends here may open it.
func (g gates) waitFor(now time.Time) time.Duration {
	wait := pullWait
	for name, q := range g {
		if g.open(name, now) {
			continue
		}
		wait = min(wait, max(q.until.Sub(now), pullWaitLeast))
		if q.limitedBy == domain.LimitMaxRunning {
			wait = min(wait, pullWaitShort)
		}
	}
	return wait
}

// firstOpening is when the first of the gates opens.
func (g gates) firstOpening(now time.Time) time.Time {
	first := now.Add(pullWait)
	for _, q := range g {
		if q.limited && q.until.Before(first) {
			first = q.until
		}
	}
	return first
}

// remove says that no limit of the queue is known to apply.
func (g gates) remove(name domain.QueueName) {
	if q, ok := g[name]; ok {
		q.limited = false
	}
}

// pulled says that a pull has brought entries of the queue.
func (g gates) pulled(name domain.QueueName) {
	if q, ok := g[name]; ok {
		q.attemptEnded = false
	}
}

// limit says what room a claim has left in the queue.
func (g gates) limit(name domain.QueueName, room domain.Capacity, now time.Time) {
	q, ok := g[name]
	if !ok {
		return
	}
	q.limited, q.limitedBy, q.capacity, q.until = true, room.LimitedBy, room.Available, now
	if room.Available > 0 {
		return
	}
	again := min(room.RetryIn, retryLatest)
	if q.attemptEnded && room.LimitedBy == domain.LimitMaxRunning {
		again = min(again, retrySoon)
	}
	q.until = now.Add(again)
}

// attemptEnded says that an attempt of the queue has ended here, and reports
// whether that has opened its gate: where too many were running there is room for
// one more.
func (g gates) attemptEnded(name domain.QueueName, now time.Time) (opened bool) {
	q, ok := g[name]
	if !ok {
		return false
	}
	q.attemptEnded = true
	if !q.limited || q.limitedBy != domain.LimitMaxRunning {
		return false
	}
	q.capacity, q.until = q.capacity+1, now
	return true
}
