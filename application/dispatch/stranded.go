package dispatch

import (
	"context"
	"maps"
	"time"

	"github.com/millrace/millrace/application"
)

// Stranded pushes again the tasks whose entries the queue has lost: those that
// were marked before the bound of their lane (application.StrandedBefore) in two
// sweeps running. One sweep is not enough, as an entry may just have been pulled.
// Entries that are put back go to the head, so an older mark stands behind a
// younger one only where two workers put back across each other; one needless
// entry comes of it.
type Stranded struct {
	Deps
	last map[application.Lane]time.Time // the bounds that the last sweep found
}

// NewStranded makes the sweep.
func NewStranded(deps Deps) *Stranded {
	return &Stranded{Deps: deps, last: map[application.Lane]time.Time{}}
}

// Run sweeps until ctx ends.
func (s *Stranded) Run(ctx context.Context) {
	every(ctx, application.StrandedInterval, application.SweepStranded, s.Events, s.Sweep)
}

// Sweep marks and pushes what this sweep and the one before found stranded. It is
// not safe for concurrent use.
func (s *Stranded) Sweep(ctx context.Context) error {
	bounds, err := s.bounds(ctx, s.Clock.Now())
	if err != nil {
		clear(s.last)
		return err
	}
	last := s.last
	s.last = maps.Clone(bounds)
	for lane, bound := range bounds {
		earlier, twice := last[lane]
		if !twice {
			continue
		}
		if earlier.Before(bound) {
			bound = earlier
		}
		if err := s.pushAgain(ctx, lane, bound); err != nil {
			return err
		}
	}
	return nil
}

// bounds are those of the lanes in which a task may be stranded.
func (s *Stranded) bounds(ctx context.Context, now time.Time) (map[application.Lane]time.Time, error) {
	bounds := map[application.Lane]time.Time{}
	lanes, err := s.Tasks.QueuedBefore(ctx, application.StrandedBefore(time.Time{}, now))
	if err != nil || len(lanes) == 0 {
		return bounds, err
	}
	oldest, err := s.Queue.Oldest(ctx, lanes...)
	if err != nil {
		return nil, err
	}
	for _, lane := range lanes {
		bounds[lane] = application.StrandedBefore(oldest[lane], now)
	}
	return bounds, nil
}

// Refill marks and pushes all tasks that are marked as queued.
func (s *Stranded) Refill(ctx context.Context) error {
	before := s.Clock.Now().Add(time.Microsecond)
	lanes, err := s.Tasks.QueuedBefore(ctx, before)
	if err != nil {
		return err
	}
	for _, lane := range lanes {
		if err := s.pushAgain(ctx, lane, before); err != nil {
			return err
		}
	}
	return nil
}

func (s *Stranded) pushAgain(ctx context.Context, lane application.Lane, before time.Time) error {
	return s.sweep(ctx, application.SweepStranded, s.mark, func(b application.SweepBatch) (application.SweepResult, error) {
		return s.Tasks.Stranded(ctx, lane, before, b)
	})
}
