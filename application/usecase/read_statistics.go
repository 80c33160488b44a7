package usecase

import (
	"context"
	"fmt"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// The bounds of what is read at once: rows, and points of an answer.
const (
	MaxStatisticsPoints  = 1500
	maxStatisticsOfAll   = 6 * time.Hour // of all queues
	minStatisticsStep    = time.Minute
	maxStatisticsStep    = 24 * time.Hour
	statisticsUnlessSaid = time.Hour
)

// ReadStatistics reads what happened to the tasks of a queue, or of all, as a series.
type ReadStatistics struct {
	store application.StatisticsRepository
	clock application.Clock
}

// NewReadStatistics makes the use case.
func NewReadStatistics(store application.StatisticsRepository, clock application.Clock) *ReadStatistics {
	return &ReadStatistics{store: store, clock: clock}
}

// ReadStatisticsInput says what to read.
type ReadStatisticsInput struct {
	Queue domain.QueueName // empty: all together
	From  time.Time        // zero: an hour before To
	To    time.Time        // zero: now
	Step  time.Duration    // 0: a minute
}

// Statistics are a series.
type Statistics struct {
	Queue    domain.QueueName
	From, To time.Time
	Step     time.Duration
	Points   []StatisticsPoint // one for each step, the oldest first
}

// StatisticsPoint is what happened in the step that began then.
type StatisticsPoint struct {
	At time.Time
	domain.QueueCounts
}

// Run reads the steps that lie in the time asked for, also in part: from is taken back to
// the beginning of its step, and to on to the end of its own.
func (uc *ReadStatistics) Run(ctx context.Context, in ReadStatisticsInput) (Statistics, error) {
	s, err := uc.span(in)
	if err != nil {
		return Statistics{}, err
	}
	minutes, err := uc.store.Read(ctx, application.StatisticsQuery{Queue: in.Queue, From: s.From, Until: s.To})
	if err != nil {
		return Statistics{}, fmt.Errorf("read statistics: %w", err)
	}
	s.Points = make([]StatisticsPoint, s.To.Sub(s.From)/s.Step)
	for i := range s.Points {
		s.Points[i].At = s.From.Add(time.Duration(i) * s.Step)
	}
	for _, m := range minutes {
		if i := int(m.Minute.Sub(s.From) / s.Step); i >= 0 && i < len(s.Points) {
			s.Points[i].QueueCounts = s.Points[i].Plus(m.QueueCounts)
		}
	}
	return s, nil
}

// span is the time to read, in whole steps, or all that is wrong with it.
func (uc *ReadStatistics) span(in ReadStatisticsInput) (Statistics, error) {
	s := Statistics{Queue: in.Queue, From: in.From, To: in.To, Step: in.Step}
	if s.Step == 0 {
		s.Step = minStatisticsStep
	}
	if s.Step < minStatisticsStep || s.Step > maxStatisticsStep || s.Step%minStatisticsStep != 0 {
		return s, domain.Invalid("step", "must be whole minutes, from %d to %d seconds",
			int(minStatisticsStep.Seconds()), int(maxStatisticsStep.Seconds()))
	}
	if s.To.IsZero() {
		s.To = uc.clock.Now()
	}
	if s.From.IsZero() {
		s.From = s.To.Add(-statisticsUnlessSaid)
	}
	if !s.From.Before(s.To) {
		return s, domain.Invalid("from", "must be before to, which is %s", s.To.Format(time.RFC3339Nano))
	}
	s.From = s.From.Truncate(s.Step)
	if end := s.To.Truncate(s.Step); end.Before(s.To) {
		s.To = end.Add(s.Step)
	}
	switch long := s.To.Sub(s.From); {
	case long/s.Step > MaxStatisticsPoints:
		return s, domain.Invalid("step", "is too short for the time from %s: an answer has at most %d steps",
			s.From.Format(time.RFC3339Nano), MaxStatisticsPoints)
	case in.Queue == "" && long > maxStatisticsOfAll:
		return s, domain.Invalid("from", "must be at most %s before to unless queue is given", maxStatisticsOfAll)
	}
	return s, nil
}
