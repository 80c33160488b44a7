package bootstrap

import (
	"context"
	"log/slog"
	"os"
	"time"

	"github.com/millrace/millrace/adapters/postgres"
	"github.com/millrace/millrace/adapters/redis"
	"github.com/millrace/millrace/adapters/telemetry"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/usecase"
	"github.com/millrace/millrace/domain"
)

// Worker is cmd/worker, assembled.
type Worker struct {
	db         *postgres.DB
	clock      *postgres.Clock
	queue      *redis.Pool
	group      *workerGroup
	admin      *adminServer
	ready      *usecase.CheckReadiness
	log        *slog.Logger
	statistics *telemetry.Statistics
	traces     *telemetry.Traces
}

// NewWorker assembles the worker with the handler that the settings name; the
// returned function closes what it holds.
func NewWorker(cfg WorkerConfig, log *slog.Logger) (*Worker, func(), error) {
	return NewWorkerOn(cfg, log, time.Now)
}

// NewWorkerOn is NewWorker on a local clock other than this machine's: for tests of
// workers that disagree about the time.
func NewWorkerOn(cfg WorkerConfig, log *slog.Logger, local postgres.LocalTime) (*Worker, func(), error) {
	return withTraces(cfg.TraceConfig, serviceWorker, log, func(traces *telemetry.Traces, log *slog.Logger) (*Worker, func(), error) {
		return withHandler(cfg.WorkConfig, log, func(h application.Handler) (*Worker, func(), error) {
			return newWorkerOf(cfg, traces, h, log, local)
		})
	})
}

// NewWorkerWith assembles the worker with the caller's handler.
func NewWorkerWith(cfg WorkerConfig, handler application.Handler, log *slog.Logger) (*Worker, func(), error) {
	return withTraces(cfg.TraceConfig, serviceWorker, log, func(traces *telemetry.Traces, log *slog.Logger) (*Worker, func(), error) {
		return newWorkerOf(cfg, traces, handler, log, time.Now)
	})
}

// serviceWorker is the worker's name in traces.
const serviceWorker = "millrace-worker"

func newWorkerOf(cfg WorkerConfig, traces *telemetry.Traces, handler application.Handler, log *slog.Logger, local postgres.LocalTime) (*Worker, func(), error) {
	w, closeAll, err := newWorker(cfg, traces, traces.Handler(handler), log, local)
	if err == nil {
		w.group.startLine, w.traces = cfg.startLine(), traces
	}
	return w, closeAll, err
}

func provideWorker(admin *adminServer, db *postgres.DB, clock *postgres.Clock, queue *redis.Pool, group *workerGroup,
	statistics *telemetry.Statistics, ready *usecase.CheckReadiness, log *slog.Logger,
) *Worker {
	return &Worker{db: db, clock: clock, queue: queue, group: group, statistics: statistics, admin: admin, ready: ready, log: log}
}

// Run waits for PostgreSQL and for the schema that it needs, and works until ctx
// ends. Health and readiness are served from the start.
func (w *Worker) Run(ctx context.Context) error {
	return w.admin.around(ctx, w.run)
}

func (w *Worker) run(ctx context.Context) error {
	return onceReady(ctx, w.ready, untilDone, func(ctx context.Context) error {
		return prepare(ctx, w.log, w.db, w.clock, w.queue, func(ctx context.Context) error { return postgres.CheckSchema(ctx, w.db) })
	}, func(ctx context.Context) {
		runWithBackground(ctx, w.clock.Run, func(ctx context.Context) {
			runWithBackground(ctx, w.statistics.Run, w.group.run)
			lastWords(ctx, w.statistics, w.traces)
		})
	})
}

func provideWorkerInfo(cfg WorkConfig) application.WorkerInfo {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return application.WorkerInfo{
		ID: domain.NewWorkerID(), Host: host, PID: os.Getpid(), Version: Version(),
		Started: domain.Moment(time.Now()), Capacity: cfg.Capacity,
	}
}
