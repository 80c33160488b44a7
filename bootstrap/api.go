package bootstrap

import (
	"context"
	"log/slog"
	"time"

	"github.com/millrace/millrace/adapters/postgres"
	"github.com/millrace/millrace/adapters/redis"
	"github.com/millrace/millrace/adapters/telemetry"
	"github.com/millrace/millrace/application/usecase"
)

// API is cmd/api, assembled.
type API struct {
	migrateOnStart bool
	db             *postgres.DB
	clock          *postgres.Clock
	queue          *redis.Pool
	server         *apiServer
	statistics     *telemetry.Statistics
	admin          *adminServer
	ready          *usecase.CheckReadiness
	log            *slog.Logger
	startLine      []any
	traces         *telemetry.Traces
}

// NewAPI assembles the API; the returned function closes what it holds.
func NewAPI(cfg APIConfig, log *slog.Logger) (*API, func(), error) {
	return withTraces(cfg.TraceConfig, "millrace-api", log, func(traces *telemetry.Traces, log *slog.Logger) (*API, func(), error) {
		a, closeAll, err := newAPI(cfg, traces, log, time.Now)
		if err == nil {
			a.startLine, a.traces = cfg.startLine(), traces
		}
		return a, closeAll, err
	})
}

func provideAPI(cfg MigrateConfig, db *postgres.DB, clock *postgres.Clock, queue *redis.Pool, server *apiServer, admin *adminServer,
	statistics *telemetry.Statistics, ready *usecase.CheckReadiness, log *slog.Logger,
) *API {
	return &API{
		migrateOnStart: cfg.MigrateOnStart, db: db, clock: clock, queue: queue, server: server, admin: admin,
		statistics: statistics, ready: ready, log: log,
	}
}

// Migrate waits for PostgreSQL and migrates the schema.
func (a *API) Migrate(ctx context.Context) error {
	if err := prepareServer(ctx, a.log, a.db); err != nil {
		return err
	}
	return retryUntilAvailable(ctx, a.log, "PostgreSQL", func(ctx context.Context) error { return postgres.Migrate(ctx, a.db, a.log) })
}

// Run waits for PostgreSQL, migrates the schema if MIGRATE_ON_START is set, and serves
// until ctx ends. Health and readiness are served from the start.
func (a *API) Run(ctx context.Context) error {
	return a.admin.around(ctx, a.run)
}

func (a *API) run(ctx context.Context) error {
	started := false
	err := onceReady(ctx, a.ready, a.server.run, func(ctx context.Context) error {
		return prepare(ctx, a.log, a.db, a.clock, a.queue, func(ctx context.Context) error {
			if a.migrateOnStart {
				return postgres.Migrate(ctx, a.db, a.log)
			}
			return postgres.CheckSchema(ctx, a.db)
		})
	}, func(ctx context.Context) {
		a.log.Info("API started", a.startLine...)
		started = true
		runWithBackground(ctx, a.statistics.Run, a.clock.Run)
	})
	if started {
		lastWords(ctx, a.statistics, a.traces)
		a.log.Info("API stopped")
	}
	return err
}
