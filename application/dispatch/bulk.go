package dispatch

import (
	"context"
	"slices"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/internal/loop"
	"github.com/millrace/millrace/domain"
)

const (
	bulkInterval = time.Second
	bulkLimit    = 200 // tasks that one step changes, at most
)

// Bulk carries out bulk actions, step by step.
type Bulk struct {
	Deps
	portion *loop.Portion          // of tasks that one step changes
	named   map[domain.BulkID]bool // actions that cannot be read, once they were reported
}

// NewBulk makes the sweep.
func NewBulk(deps Deps) *Bulk {
	return &Bulk{Deps: deps, portion: loop.NewPortion(bulkLimit), named: map[domain.BulkID]bool{}}
}

// Run sweeps until ctx ends.
func (s *Bulk) Run(ctx context.Context) {
	every(ctx, bulkInterval, application.SweepBulk, s.Events, s.Sweep)
}

// Sweep takes step after step until no action is left. One that cannot be read is
// tried again with the next sweep, and reported once. A step that took too long is
// repeated smaller.
func (s *Bulk) Sweep(ctx context.Context) error {
	step := application.BulkStep{Window: application.SearchWindow}
	step.Decide = func(b domain.Bulk, t *domain.Task) error { return b.Action.Apply(t, s.Clock.Now()) }
	for {
		step.Limit, step.Now = s.portion.Size(), s.Clock.Now()
		result, err := s.Bulks.Step(ctx, step)
		if s.tooLong(ctx, application.SweepBulk, s.portion, step.Limit, step.Limit, err) {
			continue
		}
		if err != nil {
			return err
		}
		for id, err := range result.Passed {
			step.Except = append(step.Except, id)
			if !s.named[id] {
				s.named[id] = true
				s.Events.BulkUnreadable(ctx, id, err)
			}
		}
		if !result.Found {
			return nil
		}
		if len(result.Bulk.Locked) > 0 && len(result.Changed) == 0 {
			step.Except = append(step.Except, result.Bulk.ID) // until the next sweep: somebody has locked what is left
		}
		if len(result.Changed) > 0 {
			s.report(ctx, result.Bulk, result.Changed)
		}
	}
}

// report says what a step has changed, and pushes what may run again.
func (s *Bulk) report(ctx context.Context, b domain.Bulk, changed []*domain.Task) {
	s.Events.Swept(ctx, application.SweepBulk, len(changed))
	s.tell(ctx, b.Action, changed)
	ids := make([]domain.TaskID, len(changed))
	for i, t := range changed {
		ids[i] = t.ID()
	}
	if b.Action == domain.BulkStop {
		s.Signals.Send(application.Signal{Kind: application.SignalStop, Tasks: ids})
	}
	s.Signals.Send(application.Signal{Kind: application.SignalChanged, Tasks: ids})
	application.Enqueue(ctx, s.Queue, changed...)
}

// tell tells of the tasks that a step has ended or reopened. Those that it has deleted had
// ended before.
func (s *Bulk) tell(ctx context.Context, action domain.BulkAction, changed []*domain.Task) {
	switch action {
	case domain.BulkDelete:
		return
	case domain.BulkRetry:
		s.Events.TasksReopened(ctx, changed)
		return
	}
	canceled := slices.DeleteFunc(slices.Clone(changed), func(t *domain.Task) bool { return t.Status() != domain.StatusCanceled })
	if len(canceled) > 0 {
		s.Events.TasksCanceled(ctx, canceled)
	}
}
