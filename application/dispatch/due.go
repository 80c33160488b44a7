package dispatch

import (
	"context"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/internal/loop"
)

// dueDebounce: tasks that are due one by one share sweeps.
const dueDebounce = 100 * time.Millisecond

// Due pushes the tasks whose time has come: delayed tasks, retries, and tasks
// that were released.
type Due struct{ sweeper }

// NewDue makes the sweep.
func NewDue(deps Deps) *Due { return &Due{newSweeper(deps)} }

// Run sweeps as soon as something is due, until ctx ends. It asks when that is at
// least every application.DueInterval: what is submitted meanwhile may come sooner.
func (s *Due) Run(ctx context.Context) {
	wait := application.DueInterval
	for loop.Sleep(ctx, wait) {
		next, err := s.sweepIfDue(ctx)
		if ctx.Err() == nil {
			s.Events.LoopRan(ctx, application.SweepDue, err)
		}
		wait = application.DueInterval
		if err == nil && !next.IsZero() {
			wait = min(max(next.Sub(s.Clock.Now()), 0), application.DueInterval)
		}
	}
}

// sweepIfDue sweeps if a task is due, and returns when the next one will be, zero
// if that is not known. What a sweep leaves is locked by another dispatcher or
// cannot be read: no reason to look again at once.
func (s *Due) sweepIfDue(ctx context.Context) (time.Time, error) {
	next, ok, err := s.Tasks.NextDue(ctx)
	if err != nil {
		return time.Time{}, err
	}
	now := s.Clock.Now()
	due := ok && !next.After(now)
	s.tellLag(ctx, due, now.Sub(next))
	if !due {
		return next, nil
	}
	if err := s.Sweep(ctx); err != nil {
		return time.Time{}, err
	}
	next, ok, err = s.Tasks.NextDue(ctx)
	now = s.Clock.Now()
	switch {
	case err != nil || !ok || !next.After(now):
		return time.Time{}, err
	case next.Before(now.Add(dueDebounce)):
		return now.Add(dueDebounce), nil
	}
	return next, nil
}

// tellLag tells how long the first task that is due has been so, if one is.
func (s *Due) tellLag(ctx context.Context, due bool, lag time.Duration) {
	if !due {
		lag = 0
	}
	s.Events.DispatchLag(ctx, lag)
}

// Sweep marks and pushes what is due now.
func (s *Due) Sweep(ctx context.Context) error {
	now := s.Clock.Now()
	return s.sweep(ctx, application.SweepDue, s.mark, func(b application.SweepBatch) (application.SweepResult, error) {
		return s.Tasks.Due(ctx, now, b)
	})
}
