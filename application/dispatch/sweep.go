package dispatch

import (
	"context"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// sweepLimit bounds how many tasks one transaction of a sweep changes.
const sweepLimit = 500

// sweep takes one batch after the other until there is no more. What was marked
// is pushed once its mark is committed; if the push fails, or a crash comes in
// between, the stranded sweep finds it.
func (d Deps) sweep(ctx context.Context, name application.Loop, decide application.Decide,
	step func(application.SweepBatch) (application.SweepResult, error),
) error {
	b := application.SweepBatch{Limit: sweepLimit, Decide: decide}
	for {
		swept, err := step(b)
		if err != nil {
			return err
		}
		for id, err := range swept.Passed {
			b.Except = append(b.Except, id)
			d.Events.TaskPassed(ctx, name, id, err)
		}
		if len(swept.Changed) > 0 {
			d.Events.Swept(ctx, name, len(swept.Changed))
			if err := d.pushMarked(ctx, swept.Changed); err != nil {
				return err
			}
		}
		if swept.Found < b.Limit {
			return nil
		}
	}
}

// mark marks a task as queued.
func (d Deps) mark(t *domain.Task) error { return t.MarkQueued(d.Clock.Now()) }

func (d Deps) pushMarked(ctx context.Context, tasks []*domain.Task) error {
	entries := application.MarkedEntries(tasks)
	if len(entries) == 0 {
		return nil
	}
	return d.Queue.Push(ctx, entries...)
}
