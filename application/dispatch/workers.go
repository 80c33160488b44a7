package dispatch

import (
	"context"
	"time"

	"github.com/millrace/millrace/application"
)

const workerInterval = time.Minute

// The rows of dead workers are kept a while for operators to see, and longer than
// any lease whose end is still to be judged.
const (
	keepWorkers = time.Hour
	keepLeases  = 10
)

// Workers removes the rows of workers that died long ago.
type Workers struct {
	Deps
	keep time.Duration
}

// NewWorkers makes the sweep, for workers with that lease.
func NewWorkers(deps Deps, lease time.Duration) *Workers {
	return &Workers{Deps: deps, keep: max(keepWorkers, keepLeases*lease)}
}

// Run sweeps until ctx ends.
func (s *Workers) Run(ctx context.Context) {
	every(ctx, workerInterval, application.SweepWorkers, s.Events, s.Sweep)
}

// Sweep removes the rows that are old enough.
func (s *Workers) Sweep(ctx context.Context) error {
	n, err := s.Deps.Workers.Forget(ctx, s.keep)
	if err == nil && n > 0 {
		s.Events.Swept(ctx, application.SweepWorkers, n)
	}
	return err
}
