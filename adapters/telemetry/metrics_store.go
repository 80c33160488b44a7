package telemetry

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/application"
)

const (
	// maxSampledQueues bounds the queues of a sample; what comes after them, by name, is
	// not looked at.
	maxSampledQueues = 1000
	// maxViolations bounds how far violations are counted: any of them is one too many.
	maxViolations = 1000
)

// StoreSource is where a sample of the store comes from.
type StoreSource struct {
	Queues application.QueueRepository
	Audit  application.Audit
	Clock  application.Clock
}

// storeSample is how the store was at one time.
type storeSample struct {
	queues     map[string]queueSample // by label
	violations map[application.Rule]int
}

// queueSample is how a queue, or all that share a label, was.
type queueSample struct {
	pending, scheduled, processing int
	workers                        int
	oldest                         time.Duration // that one waits
	paused                         bool
}

// CollectStore serves what only the store knows, for all programs: one of them is to do
// so, not each. All scrapes share a sample.
func (m *Metrics) CollectStore(from StoreSource) {
	m.registry.MustRegister(&storeCollector{shared[storeSample]{take: func(ctx context.Context) (storeSample, error) {
		return from.sample(ctx, &m.queues)
	}}})
}

func (from StoreSource) sample(ctx context.Context, labels *queueLabels) (storeSample, error) {
	queues, err := from.Queues.List(ctx, application.QueueQuery{Limit: maxSampledQueues})
	if err != nil {
		return storeSample{}, err
	}
	violations, err := from.Audit.Violations(ctx, maxViolations)
	if err != nil {
		return storeSample{}, err
	}
	s := storeSample{queues: map[string]queueSample{}, violations: violations}
	for _, q := range queues {
		label := labels.of(q.Name)
		s.queues[label] = s.queues[label].plus(q, from.Clock.Now())
	}
	return s, nil
}

func (s queueSample) plus(q application.QueueInfo, now time.Time) queueSample {
	s.pending += q.Pending
	s.scheduled += q.Scheduled
	s.processing += q.Processing
	s.workers += q.Workers
	s.paused = s.paused || q.Paused
	if !q.Oldest.IsZero() {
		s.oldest = max(s.oldest, now.Sub(q.Oldest))
	}
	return s
}

// storeCollector serves the sample.
type storeCollector struct{ shared[storeSample] }

var (
	queueTasks = describe("queue_tasks",
		"Tasks that have not ended: pending ones may run, scheduled ones wait for their time, processing ones run.", labelQueue, "state")
	queueOldest     = describe("queue_oldest_pending_seconds", "How long the longest waiting of the tasks that may run has waited; 0: none waits.", labelQueue)
	queuePaused     = describe("queue_paused", "1: the queue is paused.", labelQueue)
	queueWorkers    = describe("queue_workers", "Live workers that take the queue.", labelQueue)
	ruleViolations  = describe("invariant_violations", "Tasks that have broken the rule for 15 seconds or longer, counted up to 1000.", "rule")
	storeCollectors = []*prometheus.Desc{queueTasks, queueOldest, queuePaused, queueWorkers, ruleViolations}
)

// Describe implements prometheus.Collector.
func (c *storeCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range storeCollectors {
		out <- d
	}
}

// Collect implements prometheus.Collector. Without a sample that is young enough there is
// nothing to tell.
func (c *storeCollector) Collect(out chan<- prometheus.Metric) {
	sample, ok := c.get()
	if !ok {
		return
	}
	for label, q := range sample.queues {
		out <- gauge(queueTasks, float64(q.pending), label, "pending")
		out <- gauge(queueTasks, float64(q.scheduled), label, "scheduled")
		out <- gauge(queueTasks, float64(q.processing), label, "processing")
		out <- gauge(queueOldest, q.oldest.Seconds(), label)
		out <- gauge(queuePaused, oneIf(q.paused), label)
		out <- gauge(queueWorkers, float64(q.workers), label)
	}
	for rule, n := range sample.violations {
		out <- gauge(ruleViolations, float64(n), string(rule))
	}
}

func gauge(d *prometheus.Desc, value float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
}

func oneIf(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
