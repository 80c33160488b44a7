package telemetry

import (
	"context"
	"log/slog"

	"github.com/millrace/millrace/application"
)

var _ application.Queue = (*Queue)(nil)

// Queue logs that pushes begin to fail and that they work again. The use cases do not,
// because a task is accepted all the same.
type Queue struct {
	application.Queue
	pushes *outages
}

// NewQueue decorates next.
func NewQueue(next application.Queue, log *slog.Logger) *Queue {
	return &Queue{Queue: next, pushes: newOutages(log, "push failing, retrying", "push working again")}
}

// Push pushes to the decorated queue.
func (q *Queue) Push(ctx context.Context, entries ...application.Entry) error {
	return q.report(ctx, q.Queue.Push(ctx, entries...))
}

// PutBack puts back to the decorated queue. In an outage it fails as Push does.
func (q *Queue) PutBack(ctx context.Context, entries ...application.Entry) error {
	return q.report(ctx, q.Queue.PutBack(ctx, entries...))
}

func (q *Queue) report(ctx context.Context, err error) error {
	q.pushes.report(ctx, "push", err)
	return err
}
