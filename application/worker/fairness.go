package worker

import (
	"cmp"
	"slices"

	"github.com/millrace/millrace/domain"
)

// QueueWeight is a queue that a worker takes, and how often compared with others.
type QueueWeight struct {
	Name   domain.QueueName
	Weight int // at least 1
}

// fairQueueing orders queues by start-time fair queueing (P. Goyal, H. M. Vin,
// H. Cheng, 1996): each queue that has entries gets its share of what is taken, by
// weight, and one that had none gets no more for it later, so that none starves.
// It knows of no limits. It is not safe for concurrent use.
type fairQueueing struct {
	virtualTime float64 // the start tag of the queue that was served last
	flows       []*flow // in the order of the settings
}

// flow is a queue's place in virtual time.
type flow struct {
	QueueWeight
	startTag   float64 // of its next entry: what was taken from it, over its weight
	backlogged bool    // it had entries the last time, or is not known yet
}

func newFairQueueing(queues []QueueWeight) fairQueueing {
	var f fairQueueing
	for _, q := range queues {
		f.flows = append(f.flows, &flow{QueueWeight: q, backlogged: true})
	}
	return f
}

// order returns those of the queues that are eligible, the one that is the furthest
// behind its share first. They advance to the virtual time: what a queue missed
// while it was empty or blocked is not owed to it.
func (f *fairQueueing) order(eligible func(domain.QueueName) bool) []*flow {
	var ordered []*flow
	for _, q := range f.flows {
		if eligible(q.Name) {
			q.startTag = max(q.startTag, f.virtualTime)
			ordered = append(ordered, q)
		}
	}
	slices.SortStableFunc(ordered, func(a, b *flow) int { return cmp.Compare(a.startTag, b.startTag) })
	return ordered
}

// share returns the first of the ordered queues that is backlogged, nil if none is,
// and its share of the free slots among those that are. A queue without entries
// takes no share.
func share(ordered []*flow, free int) (first *flow, n int) {
	total := 0
	for _, q := range ordered {
		if !q.backlogged {
			continue
		}
		if total += q.Weight; first == nil {
			first = q
		}
	}
	if first == nil {
		return nil, free
	}
	return first, (free*first.Weight + total - 1) / total
}

// serve charges the queue for n entries, and moves the virtual time to it.
func (f *fairQueueing) serve(name domain.QueueName, n int) {
	if q := f.find(name); q != nil {
		q.backlogged = true
		f.virtualTime = q.startTag
		q.startTag += float64(n) / float64(q.Weight)
	}
}

// refund takes back the charge for n entries that were refused by a limit.
func (f *fairQueueing) refund(name domain.QueueName, n int) {
	if q := f.find(name); q != nil {
		q.startTag -= float64(n) / float64(q.Weight)
	}
}

// empty says that the queue had no entries.
func (f *fairQueueing) empty(name domain.QueueName) {
	if q := f.find(name); q != nil {
		q.backlogged = false
	}
}

// find returns the flow of a queue, nil if the worker does not take it.
func (f *fairQueueing) find(name domain.QueueName) *flow {
	for _, q := range f.flows {
		if q.Name == name {
			return q
		}
	}
	return nil
}
