package bootstrap

import (
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/millrace/millrace/adapters/httpapi"
	"github.com/millrace/millrace/adapters/postgres"
	"github.com/millrace/millrace/adapters/redis"
	"github.com/millrace/millrace/adapters/sqlite"
	"github.com/millrace/millrace/adapters/telemetry"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/dispatch"
	"github.com/millrace/millrace/application/usecase"
	"github.com/millrace/millrace/application/worker"
)

// callTimeout bounds every call to PostgreSQL and Redis.
const callTimeout = 5 * time.Second

func providePostgres(cfg ServerConfig, traces *telemetry.Traces) (*postgres.DB, func(), error) {
	db, closeDB, err := postgres.Open(postgres.Config{URL: cfg.DatabaseURL, MaxConns: cfg.DatabaseMaxConns, CallTimeout: callTimeout, Traces: traces.Provider()})
	if err != nil {
		return nil, nil, &SettingError{Name: "DATABASE_URL", Value: hidden, Allowed: "a postgres:// URL: " + err.Error()}
	}
	return db, closeDB, nil
}

func provideRedis(cfg ServerConfig) (*redis.Pool, func(), error) {
	pool, closePool, err := redis.Open(redis.Config{URL: cfg.QueueURL, CallTimeout: callTimeout, AwaitPrefix: true})
	if err != nil {
		return nil, nil, &SettingError{Name: "QUEUE_URL", Value: hidden, Allowed: "a redis:// or rediss:// URL: " + err.Error()}
	}
	return pool, closePool, nil
}

func provideServerQueue(queue *redis.Queue, log *slog.Logger) application.Queue {
	return telemetry.NewQueue(queue, log)
}

func provideSQLite(cfg StoreConfig) (*sqlite.DB, func(), error) { return sqlite.Open(cfg.path()) }

func provideLimits(cfg HTTPConfig, submit SubmitConfig) usecase.SubmitLimits {
	return usecase.SubmitLimits{MessageBytes: cfg.MaxMessageSize, MaxAttempts: submit.MaxAttempts, KeyLife: submit.KeyLife}
}

// mostBodyBytes is the default bound where there is no memory limit.
const mostBodyBytes = 128 << 20

// bodyBytes bounds the bodies in memory. A body takes up to seven times its length in memory while it
// is decoded and stored, which is why it is a sixteenth of the memory limit.
func (c HTTPConfig) bodyBytes(memoryLimit int64) int {
	if c.MaxBodyBytes > 0 {
		return c.MaxBodyBytes
	}
	return int(max(1, min(mostBodyBytes, memoryLimit/16)))
}

func provideHTTPConfig(cfg HTTPConfig, access AccessConfig, stop StopConfig, traces *telemetry.Traces) (httpapi.Config, error) {
	credentials, err := access.credentials()
	return httpapi.Config{
		ListenAddr: cfg.ListenAddr, AllowedHosts: access.AllowedHosts, Credentials: credentials, MessageBytes: cfg.MaxMessageSize, BatchBytes: cfg.MaxBatchSize,
		BodyBytes:   cfg.bodyBytes(debug.SetMemoryLimit(-1)),
		Connections: cfg.MaxConnections, Requests: cfg.MaxRequests, Waiting: cfg.MaxWaiting,
		ShutdownTimeout: stop.ShutdownTimeout, Version: Version(), Observe: traces.Observer(),
	}, err
}

func provideWorkerConfig(cfg WorkConfig, stop StopConfig) (worker.Config, error) {
	return cfg.worker(stop)
}

func provideDispatchConfig(cfg worker.Config, info application.WorkerInfo) dispatch.Config {
	return dispatch.Config{Observer: cfg.Observer(info.ID), Retry: cfg.Retry}
}

func provideWaitLimit(cfg HTTPConfig) usecase.WaitLimit {
	return usecase.WaitLimit(cfg.MaxWaiters)
}

// provideEvents is all that hears what happens.
func provideEvents(logs *telemetry.Logs, statistics *telemetry.Statistics, traces *telemetry.Traces, x *usecase.Experience) application.Events {
	return usecase.NewExperiencedEvents(traces.Events(telemetry.Join(logs, statistics)), x)
}

// The probes of each program's readiness. Accepting tasks needs the store alone;
// processing them needs loops that make progress, and a queue that does not fail for long.

func provideAPIReadiness(db *postgres.DB, pool *redis.Pool, queue *redis.Queue, x *usecase.Experience, log *slog.Logger) *usecase.CheckReadiness {
	return usecase.NewCheckReadiness(
		usecase.NamedProbe{Name: "work", Probe: x.Needed(), Needs: true},
		usecase.NamedProbe{Name: "side_work", Probe: x.Helpful()},
		usecase.NamedProbe{Name: "database", Probe: telemetry.NewProbe(db, "database", log), Needs: true},
		usecase.NamedProbe{Name: "side_tables", Probe: telemetry.NewProbe(db.SideTables(), "side_tables", log)},
		usecase.NamedProbe{Name: "queue", Probe: pool},
		usecase.NamedProbe{Name: "lanes", Probe: queue.Lanes()},
		usecase.NamedProbe{Name: "signals", Probe: pool.Signals()},
	)
}

func provideWorkerReadiness(db *postgres.DB, pool *redis.Pool, queue *redis.Queue, worker *worker.Worker, x *usecase.Experience, log *slog.Logger) *usecase.CheckReadiness {
	return usecase.NewCheckReadiness(
		usecase.NamedProbe{Name: "work", Probe: x.Needed(), Needs: true},
		usecase.NamedProbe{Name: "side_work", Probe: x.Helpful()},
		usecase.NamedProbe{Name: "database", Probe: telemetry.NewProbe(db, "database", log), Needs: true},
		usecase.NamedProbe{Name: "side_tables", Probe: telemetry.NewProbe(db.SideTables(), "side_tables", log)},
		usecase.NamedProbe{Name: "queue", Probe: pool},
		usecase.NamedProbe{Name: "lanes", Probe: queue.Lanes()},
		usecase.NamedProbe{Name: "signals", Probe: pool.Signals()},
		usecase.NamedProbe{Name: "queue_lasting", Probe: pool.Lasting(), Needs: true},
		usecase.NamedProbe{Name: "worker", Probe: worker, Needs: true},
	)
}

func provideEmbeddedReadiness(db *sqlite.DB, worker *worker.Worker, x *usecase.Experience, log *slog.Logger) *usecase.CheckReadiness {
	return usecase.NewCheckReadiness(
		usecase.NamedProbe{Name: "work", Probe: x.Needed(), Needs: true},
		usecase.NamedProbe{Name: "side_work", Probe: x.Helpful()},
		usecase.NamedProbe{Name: "database", Probe: telemetry.NewProbe(db, "database", log), Needs: true},
		usecase.NamedProbe{Name: "worker", Probe: worker, Needs: true},
	)
}
