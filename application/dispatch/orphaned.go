package dispatch

import (
	"context"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// orphanedInterval is short enough that a rescue which just misses one sweep is
// done 5 s after the lease has lapsed.
const orphanedInterval = 4 * time.Second

// Orphaned takes back the tasks of workers whose lease has lapsed. A task that
// becomes pending by it is due, and is pushed as such.
type Orphaned struct {
	sweeper
	observer application.Observer
	retry    domain.RetryPolicy
}

// NewOrphaned makes the sweep.
func NewOrphaned(deps Deps, cfg Config) *Orphaned {
	return &Orphaned{sweeper: newSweeper(deps), observer: cfg.Observer, retry: cfg.Retry}
}

// Run sweeps until ctx ends.
func (s *Orphaned) Run(ctx context.Context) {
	every(ctx, orphanedInterval, application.SweepOrphaned, s.Events, s.Sweep)
}

// Sweep rescues what is orphaned.
func (s *Orphaned) Sweep(ctx context.Context) error {
	return s.sweep(ctx, application.SweepOrphaned, s.Rescue, func(b application.SweepBatch) (application.SweepResult, error) {
		return s.Tasks.Orphaned(ctx, s.observer, b)
	})
}

// Rescue takes a task from a worker that was lost.
func (s *Orphaned) Rescue(t *domain.Task) error { return t.Rescue(s.retry, s.Clock.Now()) }
