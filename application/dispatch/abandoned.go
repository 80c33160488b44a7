package dispatch

import (
	"context"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// abandonedInterval is short enough that a rescue which just misses one sweep is
// done 5 s after the lease has lapsed.
const abandonedInterval = 4 * time.Second

// Abandoned takes back the tasks of workers whose lease has lapsed. A task that
// becomes pending by it is due, and is pushed as such.
type Abandoned struct {
	sweeper
	observer application.Observer
	retry    domain.RetryPolicy
}

// NewAbandoned makes the sweep.
func NewAbandoned(deps Deps, cfg Config) *Abandoned {
	return &Abandoned{sweeper: newSweeper(deps), observer: cfg.Observer, retry: cfg.Retry}
}

// Run sweeps until ctx ends.
func (s *Abandoned) Run(ctx context.Context) {
	every(ctx, abandonedInterval, application.SweepAbandoned, s.Events, s.Sweep)
}

// Sweep rescues what is abandoned.
func (s *Abandoned) Sweep(ctx context.Context) error {
	return s.sweep(ctx, application.SweepAbandoned, s.Rescue, func(b application.SweepBatch) (application.SweepResult, error) {
		return s.Tasks.Abandoned(ctx, s.observer, b)
	})
}

// Rescue takes a task from a worker that was lost.
func (s *Abandoned) Rescue(t *domain.Task) error { return t.Rescue(s.retry, s.Clock.Now()) }
