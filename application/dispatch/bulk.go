package dispatch

import (
	"context"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

const (
	bulkInterval = time.Second
	bulkLimit    = 200 // tasks that one step changes, at most
)

// Bulk carries out bulk actions, step by step.
type Bulk struct{ Deps }

// NewBulk makes the sweep.
func NewBulk(deps Deps) *Bulk { return &Bulk{deps} }

// Run sweeps until ctx ends.
func (s *Bulk) Run(ctx context.Context) {
	every(ctx, bulkInterval, application.SweepBulk, s.Events, s.Sweep)
}

// Sweep takes step after step until no action is left.
func (s *Bulk) Sweep(ctx context.Context) error {
	for {
		step := application.BulkStep{Limit: bulkLimit, Window: application.SearchWindow, Now: s.Clock.Now()}
		step.Decide = func(b application.Bulk, t *domain.Task) error { return b.Action.Apply(t, s.Clock.Now()) }
		b, changed, found, err := s.Bulks.Step(ctx, step)
		if err != nil || !found {
			return err
		}
		if len(changed) > 0 {
			s.report(ctx, b, changed)
		}
	}
}

// report says what a step has changed, and pushes what may run again.
func (s *Bulk) report(ctx context.Context, b application.Bulk, changed []*domain.Task) {
	s.Events.Swept(ctx, application.SweepBulk, len(changed))
	ids := make([]domain.TaskID, len(changed))
	for i, t := range changed {
		ids[i] = t.ID()
	}
	if b.Action == application.BulkStop {
		s.Signals.Send(application.Signal{Kind: application.SignalStop, Tasks: ids})
	}
	s.Signals.Send(application.Signal{Kind: application.SignalChanged, Tasks: ids})
	application.Enqueue(ctx, s.Queue, changed...)
}
