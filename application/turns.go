package application

import (
	"slices"
	"sync"
	"time"

	"github.com/millrace/millrace/domain"
)

// QueueWeight is a queue that a worker takes, and how often compared with others.
type QueueWeight struct {
	Name   domain.QueueName
	Weight int // at least 1
}

// turns says which queue a worker pulls from next. Smooth weighted round robin, as
// in nginx's upstream module: among queues that have entries each gets its share,
// evenly spread, so that none starves. A queue that is limited has a gate: no more
// is pulled from it than there was room for, and none until there may be room again.
// It is safe for concurrent use.
type turns struct {
	mu     sync.Mutex
	queues []*turn       // in the order of the settings
	opened chan struct{} // holds a token after a gate was opened by freed
}

type turn struct {
	QueueWeight
	current int // the share that it is owed
	gate    *gate
}

// gate is what is known of the room in a limited queue.
type gate struct {
	by    domain.Limit
	room  int       // entries to pull; 0: one, to see
	until time.Time // not before
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
	PullRequest           // of no queue: nothing, until something changes
	gated       bool      // from a queue with a gate
	until       time.Time // of no queue: when another gate may be tried
}

// How long a pull waits for an entry: for as long as the queue likes, or not for
// long if an attempt that ends here may open a gate meanwhile.
const (
	pullLong  = 5 * time.Second
	pullShort = 50 * time.Millisecond
	pullLeast = time.Millisecond
	gateAgain = 100 * time.Millisecond // to try a gate again that no claim has answered for
)

// next says what to pull into so many free slots: from the queue whose turn it is,
// of those that have no gate or one that may be tried. If it has none, the others
// without one come after it, so that whoever has entries is found at once.
func (t *turns) next(free int, now time.Time) plan {
	t.mu.Lock()
	defer t.mu.Unlock()
	var ready []*turn
	total, wait := 0, pullLong
	for _, q := range t.queues {
		if q.gate != nil && q.gate.until.After(now) {
			wait = min(wait, q.gate.wait(now))
			continue
		}
		ready, total = append(ready, q), total+q.Weight
	}
	if len(ready) == 0 {
		return plan{until: now.Add(wait)}
	}
	for _, q := range ready {
		q.current += q.Weight
	}
	slices.SortStableFunc(ready, func(a, b *turn) int { return b.current - a.current })
	first := ready[0]
	first.current -= total
	p := PullRequest{Max: (free*first.Weight + total - 1) / total}
	if first.gate != nil {
		first.gate.until = now.Add(gateAgain)
		p.Queues, p.Max = []domain.QueueName{first.Name}, min(p.Max, max(1, first.gate.room))
		return plan{PullRequest: p, gated: true}
	}
	p.Wait = wait
	for _, q := range ready {
		if q.gate == nil {
			p.Queues = append(p.Queues, q.Name)
		} else {
			p.Wait = 0 // its turn comes next
		}
	}
	return plan{PullRequest: p}
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

// empty says that a queue with a gate has no entries: it needs no gate.
func (t *turns) empty(name domain.QueueName) { t.with(name, func(q *turn) { q.gate = nil }) }

// claimed says what a claim has met in the queues that it was about.
func (t *turns) claimed(about []Entry, limited []LimitedQueue, now time.Time) {
	for _, e := range about {
		t.with(e.Queue, func(q *turn) { q.gate = nil })
	}
	for _, l := range limited {
		t.with(l.Name, func(q *turn) {
			q.gate = &gate{by: l.Room.By, room: l.Room.Tasks, until: now}
			if l.Room.Tasks == 0 {
				q.gate.until = now.Add(l.Room.Again)
			}
		})
	}
}

// freed says that an attempt of a task of the queue has ended here: where too many
// were running there is room for one more.
func (t *turns) freed(name domain.QueueName, now time.Time) {
	t.with(name, func(q *turn) {
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
