package telemetry

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

var _ application.Events = (*taskMetrics)(nil)

// taskMetrics counts what happens to tasks in this process. What has not happened yet has
// no series.
type taskMetrics struct {
	application.NoEvents
	queues    *queueLabels
	submitted *prometheus.CounterVec
	ended     *prometheus.CounterVec
	attempts  *prometheus.CounterVec
	wait      *prometheus.HistogramVec
	run       *prometheus.HistogramVec
	actions   *prometheus.CounterVec
	purged    prometheus.Counter
	lag       saidLately
	purgeLag  saidLately
}

func newTaskMetrics(queues *queueLabels) *taskMetrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
	}
	return &taskMetrics{
		queues:    queues,
		submitted: counter("tasks_submitted_total", "Tasks that clients have submitted and that were stored.", labelQueue),
		ended:     counter("tasks_ended_total", "Tasks that have ended, each time they did.", labelQueue, "status"),
		attempts:  counter("attempts_total", "Attempts that have ended.", labelQueue, labelOutcome),
		wait: prometheus.NewHistogramVec(histogram("task_wait_seconds",
			"How long after it was due an attempt began.", taskBuckets), []string{labelQueue}),
		run: prometheus.NewHistogramVec(histogram("task_run_seconds",
			"How long handlers ran.", taskBuckets), []string{labelQueue, labelOutcome}),
		actions: counter("dispatch_actions_total", "What sweeps have changed: tasks, or rows of keys, workers and minutes of statistics.", "action"),
		purged: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: namespace, Name: "purged_tasks_total", Help: "Tasks that were deleted because their time was over.",
		}),
		lag: saidLately{kept: 2 * time.Minute, desc: describe("dispatch_lag_seconds",
			"How long the longest due task that is not queued has been due, as this worker's last sweep saw it.")},
		// A purge rests for up to 19 times as long as a step has taken, and may then fail.
		purgeLag: saidLately{kept: 15 * time.Minute, desc: describe("purge_lag_seconds",
			"How long ago the time of the longest expired task was over, as this worker's last purge saw it.")},
	}
}

// collectors are all that taskMetrics serves.
func (m *taskMetrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.submitted, m.ended, m.attempts, m.wait, m.run, m.actions, m.purged, &m.lag, &m.purgeLag}
}

// TasksSubmitted counts new tasks.
func (m *taskMetrics) TasksSubmitted(_ context.Context, tasks []*domain.Task) {
	forQueues(tasks, func(queue domain.QueueName, n int) {
		m.submitted.WithLabelValues(m.queues.of(queue)).Add(float64(n))
	})
}

// TasksCanceled counts tasks that have ended without an attempt.
func (m *taskMetrics) TasksCanceled(_ context.Context, tasks []*domain.Task) {
	forQueues(tasks, func(queue domain.QueueName, n int) {
		m.ended.WithLabelValues(m.queues.of(queue), string(domain.StatusCanceled)).Add(float64(n))
	})
}

// AttemptStarting observes how long the task has waited.
func (m *taskMetrics) AttemptStarting(ctx context.Context, t *domain.Task, wait time.Duration) context.Context {
	observe(ctx, m.wait.WithLabelValues(m.queues.of(t.Queue())), wait.Seconds())
	return ctx
}

// AttemptEnded counts the attempt, and the task if it has ended with it.
func (m *taskMetrics) AttemptEnded(ctx context.Context, t *domain.Task, end application.AttemptEnd) {
	queue := m.queues.of(t.Queue())
	m.attempts.WithLabelValues(queue, string(end.Outcome)).Inc()
	if end.Began {
		observe(ctx, m.run.WithLabelValues(queue, string(end.Outcome)), end.Took.Seconds())
	}
	if t.Status().Ended() {
		m.ended.WithLabelValues(queue, string(t.Status())).Inc()
	}
}

// Swept counts what a sweep has changed.
func (m *taskMetrics) Swept(_ context.Context, sweep application.Loop, n int) {
	m.actions.WithLabelValues(string(sweep)).Add(float64(n))
}

// DispatchLag keeps the lag.
func (m *taskMetrics) DispatchLag(_ context.Context, lag time.Duration) { m.lag.say(lag) }

// Purged counts the tasks, and keeps the lag.
func (m *taskMetrics) Purged(_ context.Context, n int, lag time.Duration) {
	m.purged.Add(float64(n))
	m.purgeLag.say(lag)
}

// forQueues calls add with a queue and a number of tasks, which in sum are all of them.
func forQueues(tasks []*domain.Task, add func(queue domain.QueueName, n int)) {
	for len(tasks) > 0 {
		queue, n := tasks[0].Queue(), 1
		for n < len(tasks) && tasks[n].Queue() == queue {
			n++
		}
		add(queue, n)
		tasks = tasks[n:]
	}
}

// saidLately is a gauge of what was said last, if that was lately. It is safe for
// concurrent use.
type saidLately struct {
	desc *prometheus.Desc
	// kept is how long what was said last counts. A sweep that one worker does for all may
	// become another's, and what the first one has seen is not so for ever.
	kept time.Duration
	mu   sync.Mutex
	what time.Duration
	when time.Time
}

func (s *saidLately) say(what time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.what, s.when = what, time.Now()
}

// Describe implements prometheus.Collector.
func (s *saidLately) Describe(out chan<- *prometheus.Desc) { out <- s.desc }

// Collect implements prometheus.Collector.
func (s *saidLately) Collect(out chan<- prometheus.Metric) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.when.IsZero() && time.Since(s.when) <= s.kept {
		out <- gauge(s.desc, s.what.Seconds())
	}
}
