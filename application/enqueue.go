package application

import (
	"context"
	"time"

	"github.com/millrace/millrace/domain"
)

// pushWait bounds how long an accepted task waits for a queue that is away: the
// answer to the client must not.
const pushWait = 2 * time.Second

// Enqueue puts those of the tasks that are marked as queued on the queue, as well as
// it can. A client that hangs up now has a task all the same. A failure is no
// failure of the caller's: the dispatcher makes up for it, and the decorator of
// Queue logs it.
func Enqueue(ctx context.Context, queue Queue, tasks ...*domain.Task) {
	entries := MarkedEntries(tasks)
	if len(entries) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pushWait)
	defer cancel()
	_ = queue.Push(ctx, entries...)
}

// MarkedEntries are the entries of those of the tasks that are marked as queued.
func MarkedEntries(tasks []*domain.Task) []Entry {
	entries := make([]Entry, 0, len(tasks))
	for _, t := range tasks {
		if e := EntryOf(t); !e.QueuedAt.IsZero() {
			entries = append(entries, e)
		}
	}
	return entries
}

// PutBack puts entries that were pulled back on the queue. If it cannot, the
// dispatcher finds their tasks stranded.
func PutBack(ctx context.Context, queue Queue, entries ...Entry) {
	if len(entries) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pushWait)
	defer cancel()
	_ = queue.PutBack(ctx, entries...)
}
