package telemetry

import (
	"context"
	"database/sql"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/worker"
)

// dependencyTimeout is how long a dependency may take to answer.
const dependencyTimeout = 2 * time.Second

// CollectServers serves whether what the program depends on answers, with one answer for
// all scrapes of some seconds, how its connections to the database are in use, and what
// Committed has counted.
func (m *Metrics) CollectServers(stats func() []sql.DBStats, all map[string]application.Probe) {
	m.registry.MustRegister(m.commits, connectionCollector(stats), &dependencyCollector{shared[map[string]bool]{take: func(ctx context.Context) (map[string]bool, error) {
		return probeAll(ctx, all), nil
	}}})
}

func probeAll(ctx context.Context, all map[string]application.Probe) map[string]bool {
	ctx, cancel := context.WithTimeout(ctx, dependencyTimeout)
	defer cancel()
	var mu sync.Mutex
	var wait sync.WaitGroup
	up := make(map[string]bool, len(all))
	for name, probe := range all {
		wait.Go(func() {
			err := probe.Probe(ctx)
			mu.Lock()
			defer mu.Unlock()
			up[name] = err == nil
		})
	}
	wait.Wait()
	return up
}

// dependencyCollector serves the answers.
type dependencyCollector struct{ shared[map[string]bool] }

var dependencyUp = describe("dependency_up", "1: the server, or the file, that the program depends on answers and takes writes.", "dependency")

// Describe implements prometheus.Collector.
func (c *dependencyCollector) Describe(out chan<- *prometheus.Desc) { out <- dependencyUp }

// Collect implements prometheus.Collector.
func (c *dependencyCollector) Collect(out chan<- prometheus.Metric) {
	up, _ := c.get()
	for name, is := range up {
		out <- gauge(dependencyUp, oneIf(is), name)
	}
}

// connectionCollector serves them.
type connectionCollector func() []sql.DBStats

var (
	connections    = describe("db_connections", "Open connections to the database.", "state")
	connectionWait = describe("db_wait_seconds_total", "How long calls have waited for a free connection to the database, in all.")
)

// Describe implements prometheus.Collector.
func (c connectionCollector) Describe(out chan<- *prometheus.Desc) {
	out <- connections
	out <- connectionWait
}

// Collect implements prometheus.Collector.
func (c connectionCollector) Collect(out chan<- prometheus.Metric) {
	var inUse, idle int
	var waited time.Duration
	for _, pool := range c() {
		inUse, idle, waited = inUse+pool.InUse, idle+pool.Idle, waited+pool.WaitDuration
	}
	out <- gauge(connections, float64(inUse), "in_use")
	out <- gauge(connections, float64(idle), "idle")
	out <- prometheus.MustNewConstMetric(connectionWait, prometheus.CounterValue, waited.Seconds())
}

// CollectWorker serves how a worker uses its slots.
func (m *Metrics) CollectWorker(slots func() worker.Slots) {
	m.registry.MustRegister(workerCollector(slots))
}

// workerCollector serves them.
type workerCollector func() worker.Slots

var (
	workerSlots       = describe("worker_slots", "Slots of this worker: tasks that it may run at once.")
	workerBusy        = describe("worker_slots_busy", "Slots of this worker in which a task runs.")
	handlersAbandoned = describe("handlers_abandoned", "Handlers of this worker that run on although their context has ended.")
)

// Describe implements prometheus.Collector.
func (c workerCollector) Describe(out chan<- *prometheus.Desc) {
	out <- workerSlots
	out <- workerBusy
	out <- handlersAbandoned
}

// Collect implements prometheus.Collector.
func (c workerCollector) Collect(out chan<- prometheus.Metric) {
	slots := c()
	out <- gauge(workerSlots, float64(slots.Max))
	out <- gauge(workerBusy, float64(slots.Busy))
	out <- gauge(handlersAbandoned, float64(slots.Abandoned))
}

// CollectDisk serves how much room the disk of an embedded store has.
func (m *Metrics) CollectDisk(room func() (free, size uint64, ok bool)) {
	m.registry.MustRegister(diskCollector(room))
}

// diskCollector serves it.
type diskCollector func() (free, size uint64, ok bool)

var (
	storeFree = describe("store_free_bytes", "Room that is left on the disk of the embedded store.")
	storeSize = describe("store_size_bytes", "Size of the disk of the embedded store.")
)

// Describe implements prometheus.Collector.
func (c diskCollector) Describe(out chan<- *prometheus.Desc) {
	out <- storeFree
	out <- storeSize
}

// Collect implements prometheus.Collector.
func (c diskCollector) Collect(out chan<- prometheus.Metric) {
	if free, size, ok := c(); ok {
		out <- gauge(storeFree, float64(free))
		out <- gauge(storeSize, float64(size))
	}
}
