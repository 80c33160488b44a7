package application

import (
	"context"
	"time"

	"github.com/millrace/millrace/domain"
)

// QueueRepository is the record of the queues: what is set of them, and how many
// tasks wait.
type QueueRepository interface {
	// List returns the queues, by name, that were ever set up, that have a task
	// which waits or runs, or that a live worker takes: those after the name of q, at
	// most q.Limit of them.
	// A worker lives on for domain.BeatsPerLease of its own intervals after its last beat.
	// The cost does not grow with the tasks that have ended.
	List(ctx context.Context, q QueueQuery) ([]QueueInfo, error)
	// Get does so for one queue, or returns domain.ErrQueueNotFound.
	Get(ctx context.Context, name domain.QueueName) (QueueInfo, error)
	// Change applies decide to the queue's settings, creating them if absent, and stores
	// them. It waits for a claim that holds the queue.
	Change(ctx context.Context, name domain.QueueName, decide func(q *domain.QueueSettings) error) error
	// Retentions returns what is set of queues about how long their tasks are kept. A queue
	// of which nothing is set is left out.
	Retentions(ctx context.Context) (map[domain.QueueName]domain.Retention, error)
	// Ahead counts the tasks that are pulled before t, a task that is marked as
	// queued: those of its queue with a higher priority, or the same and an earlier
	// mark. It stops at limit.
	Ahead(ctx context.Context, t *domain.Task, limit int) (int, error)
	// Takers returns the live workers that take the queue, each once, in no order.
	Takers(ctx context.Context, name domain.QueueName) ([]Taker, error)
}

// QueueQuery says which queues to list.
type QueueQuery struct {
	After domain.QueueName // only names above this one; empty: from the first
	Limit int              // at most so many; at least 1
}

// QueueInfo is a queue as an operator sees it.
type QueueInfo struct {
	domain.QueueSettings
	Pending    int // may run, and wait for a worker
	Scheduled  int // wait for their time: delayed, or to be tried again
	Processing int
	Oldest     time.Time // since when the longest waiting of the pending waits; zero: none does
	Workers    int       // that live and take it
	Abandoned  int       // handlers of these workers that ignore the end of their context
	Stuck      int       // those of the workers that take no tasks because they have too many of them
}

// Taker is how the slots of a worker are in use that takes a queue: Slots and Running by
// its last beat, the busy queues by the tasks that it has claimed.
type Taker struct {
	domain.SlotUse
	Idle  bool // it has claimed no task of this queue
	Stuck bool // it takes no tasks, as too many handlers ignore the end of their context
}

// Takes reports whether the worker has a slot for one more task of the queue.
func (t Taker) Takes() bool { return !t.Stuck && t.SlotUse.Takes(t.Idle) }
