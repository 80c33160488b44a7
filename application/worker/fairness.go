package worker

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// QueueWeight is a queue that a worker takes, and how often compared with others.
type QueueWeight struct {
	Name   domain.QueueName
	Weight int // at least 1
}

// turns says which queue a worker pulls from next. Start-time fair queueing
// (P. Goyal, H. M. Vin, H. Cheng, 1996): each queue that has entries gets its share
// of what is taken, by weight, and one that had none gets no more for it later, so
// that none starves. A queue that is limited has a gate: no more is pulled from it
// than there was room for, and none until there may be room again. It is safe for
// concurrent use.
type turns struct {
	mu     sync.Mutex
	queues []*turn       // in the order of the settings
	clock  float64       // what the queue that gave last had given before
	opened chan struct{} // holds a token after a gate was opened by freed
}

type turn struct {
	QueueWeight
	given float64 // entries, over the weight
	idle  bool    // it had none when it was looked at last
	gate  *gate
	freed bool // an attempt of it has ended here since the last pull from it
}

// gate is what is known of the room in a limited queue.
type gate struct {
	by    domain.Limit
	room  int       // entries to pull; 0: one, to see
	until time.Time // not before
}

// wait is how long a pull from other queues may wait: until the gate may be tried,
// or not for long if an attempt that ends here may open it.
func (g *gate) wait(now time.Time) time.Duration {
	d := max(g.until.Sub(now), pullLeast)
	if g.by == domain.LimitMaxRunning {
		d = min(d, pullShort)
	}
	return d
}

// room is how many entries to pull from the queue, at most.
func (q *turn) room() int {
	if q.gate == nil {
		return math.MaxInt
	}
	return max(1, q.gate.room)
}

func newTurns(queues []QueueWeight) *turns {
	t := &turns{opened: make(chan struct{}, 1)}
	for _, q := range queues {
		t.queues = append(t.queues, &turn{QueueWeight: q})
	}
	return t
}

// plan is what to pull next.
type plan struct {
	application.PullRequest           // of no queue: nothing, until something changes
	until                   time.Time // of no queue: when a gate may be tried
}

// How long a pull waits for an entry: for as long as the queue likes, or not for
// long if an attempt that ends here may open a gate meanwhile.
const (
	pullLong  = 5 * time.Second
	pullShort = 50 * time.Millisecond
	pullLeast = time.Millisecond
)

// When a gate is tried again: soon if an attempt ended while the claim was under
// way, which may have counted it or not; and at last, as the limits of the queue
// may have changed.
const (
	gateSoon   = 20 * time.Millisecond
	gateAtLast = time.Second
)

// next says what to pull into so many free slots: from the queue that is the
// furthest behind its share first. The share of the first that had entries bounds
// the pull: a queue that has none takes no share, and is looked at all the same.
func (t *turns) next(free int, now time.Time) plan {
	t.mu.Lock()
	defer t.mu.Unlock()
	ready, wait := t.ready(now)
	if len(ready) == 0 {
		return plan{until: t.firstGate(now)}
	}
	var first *turn // of those that had entries
	total, most := 0, free
	for _, q := range ready {
		if q.idle {
			continue
		}
		if total += q.Weight; first == nil {
			first = q
		}
	}
	if first != nil {
		most = min((free*first.Weight+total-1)/total, first.room())
	}
	p := application.PullRequest{Max: most, Wait: wait}
	for _, q := range ready {
		if q.room() < most { // its turn comes
			p.Wait = 0
			continue
		}
		p.Queues = append(p.Queues, q.Name)
	}
	return plan{PullRequest: p}
}

// ready returns the queues that have no gate or may be tried, in their order, and
// how long to wait for the others.
func (t *turns) ready(now time.Time) (ready []*turn, wait time.Duration) {
	wait = pullLong
	for _, q := range t.queues {
		if q.gate != nil && q.gate.until.After(now) {
			wait = min(wait, q.gate.wait(now))
			continue
		}
		q.given = max(q.given, t.clock) // what it missed is gone
		ready = append(ready, q)
	}
	slices.SortStableFunc(ready, func(a, b *turn) int { return cmp.Compare(a.given, b.given) })
	return ready, wait
}

// firstGate is when the first of the gates may be tried. Whoever waits for that
// hears of one that is opened meanwhile.
func (t *turns) firstGate(now time.Time) time.Time {
	first := now.Add(pullLong)
	for _, q := range t.queues {
		if q.gate != nil && q.gate.until.Before(first) {
			first = q.gate.until
		}
	}
	return first
}

// pulled says what a pull from the queues has brought. Those before the one that
// gave have no entries, and need no gate.
func (t *turns) pulled(from []domain.QueueName, entries []application.Entry) {
	for _, name := range from {
		gave := len(entries) > 0 && entries[0].Queue == name
		t.with(name, func(q *turn) {
			if q.idle = !gave; q.idle {
				q.gate = nil
				return
			}
			t.clock, q.freed = q.given, false
			q.given += float64(len(entries)) / float64(q.Weight)
		})
		if gave {
			return
		}
	}
}

// claimed says what a claim has met in the queues that it was about.
func (t *turns) claimed(about []application.Entry, limited []application.LimitedQueue, now time.Time) {
	for _, e := range about {
		t.with(e.Queue, func(q *turn) { q.gate = nil })
	}
	for _, l := range limited {
		t.with(l.Name, func(q *turn) {
			q.given -= float64(len(l.Refused)) / float64(q.Weight)
			q.gate = &gate{by: l.Capacity.LimitedBy, room: l.Capacity.Available, until: now}
			if l.Capacity.Available > 0 {
				return
			}
			again := min(l.Capacity.RetryIn, gateAtLast)
			if q.freed && l.Capacity.LimitedBy == domain.LimitMaxRunning {
				again = min(again, gateSoon)
			}
			q.gate.until = now.Add(again)
		})
	}
}

// freed says that an attempt of a task of the queue has ended here: where too many
// were running there is room for one more.
func (t *turns) freed(name domain.QueueName, now time.Time) {
	t.with(name, func(q *turn) {
		q.freed = true
		if q.gate == nil || q.gate.by != domain.LimitMaxRunning {
			return
		}
		q.gate.room, q.gate.until = q.gate.room+1, now
		select {
		case t.opened <- struct{}{}:
		default:
		}
	})
}

func (t *turns) with(name domain.QueueName, do func(q *turn)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, q := range t.queues {
		if q.Name == name {
			do(q)
		}
	}
}
