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

// Entry is a hint on the queue: this task is ready. A hint may be lost, doubled
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

// Queue carries hints, list by list, each first in, first out. It may lose or
// double them. A list whose place is taken by something else counts as empty and
// loses what it is given; the calls go on with the other lists. Any error of a queue that
// works is a domain.ErrUnavailable.
type Queue interface {
	// Push appends the entries to their lists, in order.
	Push(ctx context.Context, entries ...Entry) error
	// PutBack puts entries that were pulled at the head of their lists again, in
	// order: the first of a list is its head.
	PutBack(ctx context.Context, entries ...Entry) error
	// Pull takes entries from the head of the first list that has any. When there
	// was none for the time that p allows, at most a few seconds, it returns none
	// and no error: a Pull that takes longer than 10 s hangs. When ctx ends, it
	// returns what it has already taken, or ctx's error: entries are not lost on a
	// stop.
	Pull(ctx context.Context, p PullRequest) ([]Entry, error)
	// Oldest returns, of those of the lists that have entries, when the one at the
	// head was marked.
	Oldest(ctx context.Context, lists ...Lane) (map[Lane]time.Time, error)
}

// PullRequest says what to pull.
type PullRequest struct {
	Queues []domain.QueueName // in this order; within a queue the highest priority first; at least one
	Max    int                // entries, at least 1
	Wait   time.Duration      // for an entry, at most; the adapter may wait for less. 0: do not wait
}
