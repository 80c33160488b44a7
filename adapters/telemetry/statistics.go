package telemetry

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

var _ application.Events = (*Statistics)(nil)

const (
	// maxQueues are told apart. The others are counted together, as domain.OtherQueues.
	maxQueues = 200
	// maxIdle is how long a queue is kept of which there is nothing to count, in intervals.
	maxIdle = 60
	// maxUnstored bounds the queues and minutes that wait for a store that is away; of more
	// the oldest are dropped.
	maxUnstored = 10_000
	// batchLimit bounds what one call of the store adds.
	batchLimit = 500
	// addTimeout is a little more than the store gives itself.
	addTimeout = 6 * time.Second
)

// Statistics counts what happens by queue, and adds it to the store every
// application.StatisticsInterval. To count costs some atomic additions and waits for
// nothing. While the store is away, what is counted waits for it in memory.
type Statistics struct {
	application.NoEvents
	store application.StatisticsRepository
	clock application.Clock
	log   *slog.Logger
	away  *outages

	queues atomic.Pointer[map[domain.QueueName]*queueCounters] // is replaced, never changed
	adding sync.Mutex                                          // of a queue

	flushing sync.Mutex // guards all below
	since    time.Time  // what is counted now happened after it
	retired  []retired  // of queues that are no longer kept; whoever counts may still have them
	unstored map[minuteKey]domain.QueueCounts
	batch    application.StatisticsBatch // that was sent last; Minutes: nil once it is stored
}

// minuteKey names a row.
type minuteKey struct {
	minute time.Time
	queue  domain.QueueName
}

// retired are the counters of a queue that is no longer kept.
type retired struct {
	queue domain.QueueName
	*queueCounters
}

// NewStatistics makes a Statistics that adds to store.
func NewStatistics(store application.StatisticsRepository, clock application.Clock, log *slog.Logger) *Statistics {
	s := &Statistics{
		store: store, clock: clock, log: log, away: newOutages(log, "statistics failing, kept in memory", "statistics working again"),
		since: clock.Now(), unstored: map[minuteKey]domain.QueueCounts{},
		batch: application.StatisticsBatch{Source: domain.NewWorkerID()},
	}
	s.queues.Store(&map[domain.QueueName]*queueCounters{})
	return s
}

// TasksSubmitted counts tasks.
func (s *Statistics) TasksSubmitted(_ context.Context, tasks []*domain.Task) {
	for _, t := range tasks {
		s.of(t.Queue()).submitted.Add(1)
	}
}

// TasksCanceled counts tasks.
func (s *Statistics) TasksCanceled(_ context.Context, tasks []*domain.Task) {
	for _, t := range tasks {
		s.of(t.Queue()).canceled.Add(1)
	}
}

// AttemptStarting counts the attempt, and how long it waited.
func (s *Statistics) AttemptStarting(ctx context.Context, t *domain.Task, wait time.Duration) context.Context {
	q := s.of(t.Queue())
	q.started.Add(1)
	q.wait[domain.BucketOf(wait)].Add(1)
	return ctx
}

// AttemptEnded counts the attempt, and the task if it has ended. How long a handler took
// that was cut short by the worker's end says nothing.
func (s *Statistics) AttemptEnded(_ context.Context, t *domain.Task, end application.AttemptEnd) {
	q := s.of(t.Queue())
	q.add(domain.CountsOf(end.Outcome, t.Status()))
	if end.Began && end.Outcome != domain.OutcomeReleased {
		q.run[domain.BucketOf(end.Took)].Add(1)
	}
}

// of are the counters of a queue.
func (s *Statistics) of(queue domain.QueueName) *queueCounters {
	if q := (*s.queues.Load())[queue]; q != nil {
		return q
	}
	return s.add(queue)
}

// add makes the counters of a queue, or returns those of all others.
func (s *Statistics) add(queue domain.QueueName) *queueCounters {
	s.adding.Lock()
	defer s.adding.Unlock()
	known := *s.queues.Load()
	if len(known) >= maxQueues {
		queue = domain.OtherQueues
	}
	if q := known[queue]; q != nil {
		return q
	}
	q := new(queueCounters)
	more := maps.Clone(known)
	more[queue] = q
	s.queues.Store(&more)
	return q
}

// retire stops keeping queues that have long been idle. Whoever has their counters in hand
// counts on, so they are looked at once more.
func (s *Statistics) retire(idle []domain.QueueName) {
	if len(idle) == 0 {
		return
	}
	s.adding.Lock()
	defer s.adding.Unlock()
	fewer := maps.Clone(*s.queues.Load())
	for _, queue := range idle {
		s.retired = append(s.retired, retired{queue, fewer[queue]})
		delete(fewer, queue)
	}
	s.queues.Store(&fewer)
}

// Run stores what was counted every application.StatisticsInterval, on the full ones of the
// clock, so that none spans two minutes, until ctx ends. Flush stores the rest.
func (s *Statistics) Run(ctx context.Context) {
	s.flushing.Lock()
	s.since = s.clock.Now() // a program may have waited for its store since it was made
	s.flushing.Unlock()
	for {
		now := s.clock.Now()
		timer := time.NewTimer(now.Truncate(application.StatisticsInterval).Add(application.StatisticsInterval).Sub(now))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		s.Flush(ctx)
	}
}

// Flush stores what was counted so far. What cannot be stored waits for the next one, as
// does all once ctx has ended.
func (s *Statistics) Flush(ctx context.Context) {
	s.flushing.Lock()
	defer s.flushing.Unlock()
	s.drain()
	adding, cancel := context.WithTimeout(ctx, addTimeout)
	defer cancel()
	for s.next() {
		err := s.store.Add(adding, s.batch)
		if errors.Is(err, domain.ErrRefused) { // it always will be
			s.log.ErrorContext(ctx, "statistics refused by the store and dropped", "error", err)
			err = nil
		}
		if err != nil && errors.Is(ctx.Err(), context.Canceled) { // which says nothing of the store
			return
		}
		s.away.report(ctx, "statistics", err)
		if err != nil {
			return
		}
		s.batch.Minutes = nil
	}
}

// drain takes what was counted out of the counters. It happened in the minute in which the
// interval began.
func (s *Statistics) drain() {
	minute := s.since.Truncate(time.Minute)
	s.since = s.clock.Now()
	last := s.retired
	s.retired = nil
	var idle []domain.QueueName
	for queue, q := range *s.queues.Load() {
		if s.take(minuteKey{minute, queue}, q); q.idle > maxIdle {
			idle = append(idle, queue)
		}
	}
	for _, r := range last {
		s.take(minuteKey{minute, r.queue}, r.queueCounters)
	}
	s.retire(idle)
	if over := len(s.unstored) - maxUnstored; over > 0 {
		s.log.Warn("too many statistics wait for the store, and the oldest were dropped", "minutes", over)
		for _, key := range s.keys()[:over] {
			delete(s.unstored, key)
		}
	}
}

// take adds what the counters have to what is to be stored.
func (s *Statistics) take(key minuteKey, q *queueCounters) {
	counts, some := q.take()
	if !some {
		q.idle++
		return
	}
	q.idle = 0
	s.unstored[key] = s.unstored[key].Plus(counts)
}

// next makes the next batch, unless the last one is not stored yet, which is sent again as
// it was; false: there is nothing to store.
func (s *Statistics) next() bool {
	if s.batch.Minutes != nil {
		return true
	}
	keys := s.keys()
	for _, key := range keys[:min(len(keys), batchLimit)] {
		s.batch.Minutes = append(s.batch.Minutes, domain.QueueMinute{Queue: key.queue, Minute: key.minute, QueueCounts: s.unstored[key]})
		delete(s.unstored, key)
	}
	s.batch.Number++
	return s.batch.Minutes != nil
}

// keys are those of what is to be stored, the oldest first.
func (s *Statistics) keys() []minuteKey {
	return slices.SortedFunc(maps.Keys(s.unstored), func(a, b minuteKey) int {
		if c := a.minute.Compare(b.minute); c != 0 {
			return c
		}
		return strings.Compare(string(a.queue), string(b.queue))
	})
}

// queueCounters count what happens in a queue.
type queueCounters struct {
	submitted, started, completed, failedAttempts, failed, canceled, rescued atomic.Int64
	wait, run                                                                [domain.HistogramBuckets]atomic.Int64
	idle                                                                     int // drains that found nothing
}

// add counts the end of an attempt.
func (q *queueCounters) add(c domain.QueueCounts) {
	for _, n := range []struct {
		to   *atomic.Int64
		more int64
	}{
		{&q.completed, c.Completed}, {&q.failedAttempts, c.FailedAttempts}, {&q.failed, c.Failed}, {&q.canceled, c.Canceled},
		{&q.rescued, c.Rescued},
	} {
		if n.more != 0 {
			n.to.Add(n.more)
		}
	}
}

// take returns what was counted, and begins anew; some: there was something.
func (q *queueCounters) take() (c domain.QueueCounts, some bool) {
	for _, n := range []struct {
		from *atomic.Int64
		to   *int64
	}{
		{&q.submitted, &c.Submitted}, {&q.started, &c.Started}, {&q.completed, &c.Completed}, {&q.failedAttempts, &c.FailedAttempts},
		{&q.failed, &c.Failed}, {&q.canceled, &c.Canceled}, {&q.rescued, &c.Rescued},
	} {
		*n.to = n.from.Swap(0)
		some = some || *n.to != 0
	}
	var waited, ran bool
	c.Wait, waited = takeHistogram(&q.wait)
	c.Run, ran = takeHistogram(&q.run)
	return c, some || waited || ran
}

// takeHistogram returns the counts up to the last that is not zero.
func takeHistogram(from *[domain.HistogramBuckets]atomic.Int64) (domain.Histogram, bool) {
	var h domain.Histogram
	for i := range from {
		if n := from[i].Swap(0); n != 0 {
			h = append(h, make(domain.Histogram, i-len(h))...)
			h = append(h, n)
		}
	}
	return h, len(h) > 0
}
