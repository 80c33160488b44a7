package bootstrap

import (
	"log/slog"
	"net/http"

	"github.com/millrace/millrace/adapters/postgres"
	"github.com/millrace/millrace/adapters/redis"
	"github.com/millrace/millrace/adapters/sqlite"
	"github.com/millrace/millrace/adapters/telemetry"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/worker"
)

// What each program tells Prometheus. The store is asked by the API alone, so that each
// figure is there once; a worker tells what it does itself.

func provideMetrics() *telemetry.Metrics { return telemetry.NewMetrics(Version()) }

// observer measures requests, in their traces if there are any.
func observer(traces *telemetry.Traces, m *telemetry.Metrics) func(http.Handler) http.Handler {
	traced := traces.Observer()
	if traced == nil {
		return m.HTTP
	}
	return func(next http.Handler) http.Handler { return traced(m.HTTP(next)) }
}

func provideAPIScrapes(m *telemetry.Metrics, db *postgres.DB, pool *redis.Pool, from telemetry.StoreSource, log *slog.Logger) scrapes {
	m.CollectServers(db.Stats, map[string]application.Probe{"database": db, "queue": pool})
	m.CollectStore(from)
	return m.Handler(log)
}

func provideWorkerScrapes(m *telemetry.Metrics, db *postgres.DB, pool *redis.Pool, w *worker.Worker, log *slog.Logger) scrapes {
	m.CollectServers(db.Stats, map[string]application.Probe{"database": db, "queue": pool})
	m.CollectWorker(w.Slots)
	return m.Handler(log)
}

func provideEmbeddedScrapes(m *telemetry.Metrics, db *sqlite.DB, w *worker.Worker, from telemetry.StoreSource, log *slog.Logger) scrapes {
	m.CollectServers(db.Stats, map[string]application.Probe{"database": db})
	m.CollectDisk(db.Disk)
	m.CollectStore(from)
	m.CollectWorker(w.Slots)
	return m.Handler(log)
}
