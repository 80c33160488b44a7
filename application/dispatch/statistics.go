package dispatch

import (
	"context"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/internal/loop"
)

const (
	statisticsInterval = 10 * time.Minute
	statisticsLimit    = 1000 // minutes that one transaction removes
)

// Statistics removes the statistics that are older than application.KeepStatistics.
type Statistics struct {
	Deps
	portion *loop.Portion // of one transaction
}

// NewStatistics makes the sweep.
func NewStatistics(deps Deps) *Statistics { return &Statistics{deps, loop.NewPortion(statisticsLimit)} }

// Run sweeps until ctx ends.
func (s *Statistics) Run(ctx context.Context) {
	every(ctx, statisticsInterval, application.SweepStatistics, s.Events, s.Sweep)
}

// Sweep removes all that is too old now. A step that took too long is repeated smaller.
func (s *Statistics) Sweep(ctx context.Context) error {
	before := s.Clock.Now().Add(-application.KeepStatistics)
	for {
		limit := s.portion.Size()
		n, err := s.Deps.Statistics.Forget(ctx, before, limit)
		if s.tooLong(ctx, application.SweepStatistics, s.portion, limit, n, err) {
			continue
		}
		if n > 0 {
			s.Events.Swept(ctx, application.SweepStatistics, n)
		}
		if err != nil || n < limit {
			return err
		}
	}
}
