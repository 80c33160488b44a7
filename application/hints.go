package application

import (
	"context"
	"time"

	"github.com/millrace/millrace/domain"
)

// Lane is where entries wait: each queue has one for every priority.
type Lane struct {
	Queue    domain.QueueName
	Priority int
}

// Entry is a hint in a lane: this task is ready. A hint may be lost, doubled
// or stale; the claim decides.
type Entry struct {
	Lane
	ID       domain.TaskID
	QueuedAt time.Time // when the task was marked as queued
}

// EntryOf is the hint for a task that is marked as queued.
func EntryOf(t *domain.Task) Entry {
	s := t.State()
	return Entry{Lane: Lane{Queue: s.Queue, Priority: s.Priority}, ID: s.ID, QueuedAt: s.QueuedAt}
}

// Queue carries the hints of all queues that clients name, lane by lane, each first in,
// first out. It may lose or double them. A lane whose place is taken by something else
// counts as empty and loses what is pushed to it; the calls go on with the other lanes.
// Any error of a Queue that works is a domain.ErrUnavailable.
type Queue interface {
	// Push appends the entries to their lanes, in order.
	Push(ctx context.Context, entries ...Entry) error
	// PutBack puts entries that were pulled at the head of their lanes again, in
	// order: the first of a lane is its head.
	PutBack(ctx context.Context, entries ...Entry) error
	// Pull takes entries from the head of the first lane that has any. When there
	// was none for the time that p allows, at most a few seconds, it returns none
	// and no error: a Pull that takes longer than 10 s hangs. When ctx ends, it
	// returns what it has already taken, or ctx's error: entries are not lost on a
	// stop.
	Pull(ctx context.Context, p PullRequest) ([]Entry, error)
	// Oldest returns, of those of the lanes that have entries, when the one at the
	// head was marked.
	Oldest(ctx context.Context, lanes ...Lane) (map[Lane]time.Time, error)
}

// PullRequest says what to pull.
type PullRequest struct {
	Queues []domain.QueueName // in this order; within a queue the highest priority first; at least one
	Max    int                // entries, at least 1
	Wait   time.Duration      // for an entry, at most; the adapter may wait for less. 0: do not wait
}
