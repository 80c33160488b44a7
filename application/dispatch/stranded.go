package dispatch

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// holdSweep is how long a worker that has swept keeps the others from it: it may be late with
// its next sweep, and is followed soon if it has died.
const holdSweep = 2*application.StrandedInterval + time.Second

// lanesPerStep bounds the lanes that one statement looks at.
const lanesPerStep = 500

// Stranded pushes again the tasks whose entries the queue has lost: those that
// were marked before the bound of their lane (domain.StrandedBefore) in two
// sweeps running. One sweep is not enough, as an entry may just have been pulled.
// Entries that are put back go to the head, so an older mark stands behind a
// younger one only where two workers put back across each other; one needless
// entry comes of it.
//
// One worker sweeps for all. The cost of a sweep that finds nothing is one statement,
// and one look at the heads of the lanes in which something waits for long.
type Stranded struct {
	sweeper
	worker domain.WorkerID
	last   map[application.Lane]time.Time // the bounds of the lanes that the last sweep suspected
	failed bool                           // the last look of this worker has
}

// NewStranded makes the sweep of a worker.
func NewStranded(deps Deps, worker domain.WorkerID) *Stranded {
	return &Stranded{sweeper: newSweeper(deps), worker: worker, last: map[application.Lane]time.Time{}}
}

// Run sweeps until ctx ends.
func (s *Stranded) Run(ctx context.Context) {
	every(ctx, application.StrandedInterval, application.SweepStranded, s.Events, s.Sweep)
	s.releaseSweep(ctx)
}

// Sweep sweeps if no other worker has the sweep. After an error it gives the sweep up:
// another worker may have better luck. Then it looks, and acts on nothing, until a look
// succeeds: without that, its result would say that what failed works again. It is not
// safe for concurrent use.
func (s *Stranded) Sweep(ctx context.Context) error {
	mine, err := s.Tasks.AcquireSweep(ctx, application.SweepStranded, s.worker, holdSweep)
	switch {
	case err != nil:
	case mine:
		err = s.sweepLanes(ctx)
		s.failed = err != nil
	case s.failed:
		_, _, err = s.suspects(ctx, s.Clock.Now())
		s.failed = err != nil
	}
	if err != nil || !mine {
		clear(s.last)
	}
	if err != nil {
		s.releaseSweep(ctx)
	}
	return err
}

// releaseSweep gives the sweep up. If that fails, it becomes free by itself.
func (s *Stranded) releaseSweep(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = s.Tasks.ReleaseSweep(ctx, application.SweepStranded, s.worker)
}

// sweepLanes marks and pushes what this sweep and the one before found stranded.
func (s *Stranded) sweepLanes(ctx context.Context) error {
	oldest, bounds, err := s.suspects(ctx, s.Clock.Now())
	if err != nil {
		return err
	}
	lost := map[application.Lane]time.Time{}
	for lane, bound := range bounds {
		earlier, twice := s.last[lane]
		if !twice {
			continue
		}
		if earlier.Before(bound) {
			bound = earlier
		}
		if oldest[lane].Before(bound) {
			lost[lane] = bound
		}
	}
	s.last = bounds
	return s.pushAgain(ctx, lost)
}

// suspects are the lanes in which a task is stranded unless its entry was just pulled: the
// oldest mark of each, and its bound.
func (s *Stranded) suspects(ctx context.Context, now time.Time) (oldest, bounds map[application.Lane]time.Time, err error) {
	oldest, err = s.Tasks.QueuedBefore(ctx, domain.StrandedBefore(time.Time{}, now))
	bounds = make(map[application.Lane]time.Time, len(oldest))
	if err != nil || len(oldest) == 0 {
		return oldest, bounds, err
	}
	heads, err := s.Queue.Oldest(ctx, slices.Collect(maps.Keys(oldest))...)
	if err != nil {
		return nil, nil, err
	}
	for lane, mark := range oldest {
		if bound := domain.StrandedBefore(heads[lane], now); mark.Before(bound) {
			bounds[lane] = bound
		}
	}
	return oldest, bounds, nil
}

// Refill marks and pushes all tasks that are marked as queued.
func (s *Stranded) Refill(ctx context.Context) error {
	before := s.Clock.Now().Add(time.Microsecond)
	all, err := s.Tasks.QueuedBefore(ctx, before)
	if err != nil {
		return err
	}
	for lane := range all {
		all[lane] = before
	}
	return s.pushAgain(ctx, all)
}

// pushAgain marks and pushes what was marked before the time that is given for its lane.
func (s *Stranded) pushAgain(ctx context.Context, before map[application.Lane]time.Time) error {
	for lanes := range slices.Chunk(slices.Collect(maps.Keys(before)), lanesPerStep) {
		part := make(map[application.Lane]time.Time, len(lanes))
		for _, lane := range lanes {
			part[lane] = before[lane]
		}
		err := s.sweep(ctx, application.SweepStranded, s.mark, func(b application.SweepBatch) (application.SweepResult, error) {
			return s.Tasks.Stranded(ctx, part, b)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
