package dispatch

import (
	"context"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/internal/loop"
	"github.com/millrace/millrace/domain"
)

// sweepLimit bounds how many tasks one transaction of a sweep changes.
const sweepLimit = 500

// sweeper takes the steps of a sweep.
type sweeper struct {
	Deps
	portion *loop.Portion // of one step
}

func newSweeper(deps Deps) sweeper { return sweeper{deps, loop.NewPortion(sweepLimit)} }

// sweep takes one batch after the other until there is no more. What was marked
// is pushed once its mark is committed; if the push fails, or a crash comes in
// between, the stranded sweep finds it. A failed push ends the sweep and is none of its own
// failures, which its next one, with nothing to push, would end: the decorator of Queue
// tells of it, until a push succeeds. A step that took too long is repeated smaller.
func (d sweeper) sweep(ctx context.Context, name application.Loop, decide application.Decide,
	step func(application.SweepBatch) (application.SweepResult, error),
) error {
	b := application.SweepBatch{Decide: decide}
	for {
		b.Limit = d.portion.Size()
		swept, err := step(b)
		if d.tooLong(ctx, name, d.portion, b.Limit, swept.Found, err) {
			continue
		}
		if err != nil {
			return err
		}
		for id, err := range swept.Passed {
			b.Except = append(b.Except, id)
			d.Events.TaskPassed(ctx, name, id, err)
		}
		if len(swept.Changed) > 0 {
			d.Events.Swept(ctx, name, len(swept.Changed))
			if name == application.SweepOrphaned {
				d.tellEnds(ctx, swept.Changed)
			}
			if !d.pushMarked(ctx, swept.Changed) {
				return nil
			}
		}
		if swept.Found < b.Limit {
			return nil
		}
	}
}

// tellEnds tells of the attempts that a step has ended.
func (d sweeper) tellEnds(ctx context.Context, changed []*domain.Task) {
	for _, t := range changed {
		d.Events.AttemptEnded(ctx, t, application.AttemptEnd{Outcome: t.LastOutcome()})
	}
}

// tooLong notes what became of a step, and reports whether to repeat it smaller. It
// reports the timeout, and each smaller step that succeeds: a sweep may take long in small
// steps, and one that makes progress does not fail.
func (d Deps) tooLong(ctx context.Context, name application.Loop, p *loop.Portion, size, found int, err error) (repeat bool) {
	repeat = p.Note(size, found, err) && ctx.Err() == nil
	if repeat || err == nil && p.Reduced(size) {
		d.Events.LoopRan(ctx, name, err)
	}
	return repeat
}

// mark marks a task as queued.
func (d Deps) mark(t *domain.Task) error { return t.MarkQueued(d.Clock.Now()) }

// pushMarked reports whether the tasks that are marked were pushed.
func (d Deps) pushMarked(ctx context.Context, tasks []*domain.Task) bool {
	entries := application.MarkedEntries(tasks)
	return len(entries) == 0 || d.Queue.Push(ctx, entries...) == nil
}
