package telemetry

import (
	"log/slog"
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/millrace/millrace/application"
)

const namespace = "millrace"

// The labels of more than one metric.
const (
	labelQueue   = "queue"
	labelOutcome = "outcome"
)

// maxScrapes is how many scrapes are answered at once; the next one gets 503.
const maxScrapes = 8

// Metrics are what a program tells Prometheus: what happens in it, counted as it happens,
// and how it is, asked at each scrape. No scrape waits long for a server. It is safe for
// concurrent use.
type Metrics struct {
	registry *prometheus.Registry
	queues   queueLabels
	requests *prometheus.HistogramVec
	commits  prometheus.Histogram
	tasks    *taskMetrics
}

// NewMetrics makes the metrics of a program of that version.
func NewMetrics(version string) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewHistogramVec(histogram("http_request_duration_seconds",
			"How long requests took, from their header to the end of the answer.", requestBuckets), []string{"method", "route", "code"}),
		commits: prometheus.NewHistogram(histogram("group_commit_batch_size",
			"How many writes of concurrent callers shared a commit.", prometheus.ExponentialBuckets(1, 2, 10))),
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: namespace, Name: "build_info", Help: "1; the labels say what the program was built from.",
		ConstLabels: prometheus.Labels{"version": version, "go_version": runtime.Version()},
	})
	info.Set(1)
	m.tasks = newTaskMetrics(&m.queues)
	m.registry.MustRegister(m.tasks.collectors()...)
	m.registry.MustRegister(info, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Handler answers scrapes, in text, in OpenMetrics with exemplars, or in protocol buffers
// with native histograms, as the client prefers.
func (m *Metrics) Handler(log *slog.Logger) http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn), ErrorHandling: promhttp.ContinueOnError,
		MaxRequestsInFlight: maxScrapes, EnableOpenMetrics: true,
	})
}

// Events hears what happens to tasks in this process, and counts it.
func (m *Metrics) Events() application.Events { return m.tasks }

// Committed counts a commit that so many writes of concurrent callers have shared.
func (m *Metrics) Committed(writes int) { m.commits.Observe(float64(writes)) }

// The buckets of classic histograms, in seconds. What runs as a task may take long.
var (
	requestBuckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}
	taskBuckets    = []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400}
)

// histogram are the options of a histogram that is served both with buckets and, to a
// Prometheus that asks for them, as a native one, whose buckets are 10 % apart.
func histogram(name, help string, buckets []float64) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{
		Namespace: namespace, Name: name, Help: help, Buckets: buckets,
		NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100, NativeHistogramMinResetDuration: time.Hour,
	}
}

// describe makes the description of a metric that is asked at each scrape.
func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
}
