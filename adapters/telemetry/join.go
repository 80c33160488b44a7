package telemetry

import (
	"context"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

var _ application.Events = joined(nil)

// joined tells each of its Events, in order.
type joined []application.Events

// Join makes an Events that tells all of the given ones, in their order: each gets the
// context of an attempt as the one before it has made it.
func Join(events ...application.Events) application.Events {
	if len(events) == 1 {
		return events[0]
	}
	return joined(events)
}

// TasksSubmitted tells all.
func (j joined) TasksSubmitted(ctx context.Context, tasks []*domain.Task) {
	for _, e := range j {
		e.TasksSubmitted(ctx, tasks)
	}
}

// TasksCanceled tells all.
func (j joined) TasksCanceled(ctx context.Context, tasks []*domain.Task) {
	for _, e := range j {
		e.TasksCanceled(ctx, tasks)
	}
}

// TasksReopened tells all.
func (j joined) TasksReopened(ctx context.Context, tasks []*domain.Task) {
	for _, e := range j {
		e.TasksReopened(ctx, tasks)
	}
}

// AttemptStarting tells all, and returns the context of the last.
func (j joined) AttemptStarting(ctx context.Context, t *domain.Task, wait time.Duration) context.Context {
	if len(j) == 0 {
		return ctx
	}
	return j[1:].AttemptStarting(j[0].AttemptStarting(ctx, t, wait), t, wait)
}

// AttemptEnded tells all.
func (j joined) AttemptEnded(ctx context.Context, t *domain.Task, end application.AttemptEnd) {
	for _, e := range j {
		e.AttemptEnded(ctx, t, end)
	}
}

// AttemptLost tells all.
func (j joined) AttemptLost(ctx context.Context, queue domain.QueueName, ref application.AttemptRef) {
	for _, e := range j {
		e.AttemptLost(ctx, queue, ref)
	}
}

// OutcomeRefused tells all.
func (j joined) OutcomeRefused(ctx context.Context, queue domain.QueueName, ref application.AttemptRef, err error) {
	for _, e := range j {
		e.OutcomeRefused(ctx, queue, ref, err)
	}
}

// OutcomeUnsaved tells all.
func (j joined) OutcomeUnsaved(ctx context.Context, queue domain.QueueName, ref application.AttemptRef, err error) {
	for _, e := range j {
		e.OutcomeUnsaved(ctx, queue, ref, err)
	}
}

// HandlerPanicked tells all.
func (j joined) HandlerPanicked(ctx context.Context, queue domain.QueueName, ref application.AttemptRef, value any, stack []byte) {
	for _, e := range j {
		e.HandlerPanicked(ctx, queue, ref, value, stack)
	}
}

// HandlerAbandoned tells all.
func (j joined) HandlerAbandoned(ctx context.Context, queue domain.QueueName, ref application.AttemptRef) {
	for _, e := range j {
		e.HandlerAbandoned(ctx, queue, ref)
	}
}

// EntryDropped tells all.
func (j joined) EntryDropped(ctx context.Context, id domain.TaskID) {
	for _, e := range j {
		e.EntryDropped(ctx, id)
	}
}

// Swept tells all.
func (j joined) Swept(ctx context.Context, sweep application.Loop, n int) {
	for _, e := range j {
		e.Swept(ctx, sweep, n)
	}
}

// DispatchLag tells all.
func (j joined) DispatchLag(ctx context.Context, lag time.Duration) {
	for _, e := range j {
		e.DispatchLag(ctx, lag)
	}
}

// Purged tells all.
func (j joined) Purged(ctx context.Context, n int, lag time.Duration) {
	for _, e := range j {
		e.Purged(ctx, n, lag)
	}
}

// TaskPassed tells all.
func (j joined) TaskPassed(ctx context.Context, loop application.Loop, id domain.TaskID, err error) {
	for _, e := range j {
		e.TaskPassed(ctx, loop, id, err)
	}
}

// BulkUnreadable tells all.
func (j joined) BulkUnreadable(ctx context.Context, id domain.BulkID, err error) {
	for _, e := range j {
		e.BulkUnreadable(ctx, id, err)
	}
}

// LoopRan tells all.
func (j joined) LoopRan(ctx context.Context, loop application.Loop, err error) {
	for _, e := range j {
		e.LoopRan(ctx, loop, err)
	}
}
