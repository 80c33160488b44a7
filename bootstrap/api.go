package bootstrap

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/millrace/millrace/adapters/httpapi"
	"github.com/millrace/millrace/adapters/postgres"
	"github.com/millrace/millrace/application"
)

// API is cmd/api, assembled.
type API struct {
	migrateOnStart bool
	db             *postgres.DB
	clock          *postgres.Clock
	door           *door
	ready          *application.CheckReadiness
	log            *slog.Logger
}

// NewAPI assembles the API; the returned function closes what it holds.
func NewAPI(cfg APIConfig, log *slog.Logger) (*API, func(), error) {
	return newAPI(cfg, log, time.Now)
}

func provideAPI(cfg MigrateConfig, db *postgres.DB, clock *postgres.Clock, door *door,
	ready *application.CheckReadiness, log *slog.Logger,
) *API {
	return &API{migrateOnStart: cfg.MigrateOnStart, db: db, clock: clock, door: door, ready: ready, log: log}
}

// Migrate brings the schema up to date, waiting for PostgreSQL.
func (a *API) Migrate(ctx context.Context) error {
	return until(ctx, a.log, "PostgreSQL", func(ctx context.Context) error { return postgres.Migrate(ctx, a.db, a.log) })
}

// Run waits for PostgreSQL, migrates if that is set, and serves until ctx ends.
// How it is can be asked from the start.
func (a *API) Run(ctx context.Context) error {
	return onceReady(ctx, a.ready, a.door.run, func(ctx context.Context) error {
		return prepare(ctx, a.log, a.db, a.clock, func(ctx context.Context) error {
			if a.migrateOnStart {
				return postgres.Migrate(ctx, a.db, a.log)
			}
			return postgres.CheckSchema(ctx, a.db)
		})
	}, a.clock.Run)
}

// onceReady serves from the start, held until prepare has brought about all that
// the program needs, and then works until ctx ends.
func onceReady(ctx context.Context, ready *application.CheckReadiness,
	serve, prepare func(context.Context) error, work func(context.Context),
) error {
	ready.Hold()
	inner, stop := context.WithCancel(ctx)
	defer stop()
	var unprepared error
	err := together(inner, serve, func(ctx context.Context) {
		if unprepared = prepare(ctx); unprepared != nil {
			stop()
			return
		}
		ready.Open()
		work(ctx)
	})
	if err != nil {
		return err
	}
	if ctx.Err() != nil { // told to end, while it was still waiting maybe
		return nil
	}
	return unprepared
}

// door is the server of the API, and what keeps the waiting of its clients.
type door struct {
	server *httpapi.Server
	wait   *application.WaitTask
}

func provideDoor(server *httpapi.Server, wait *application.WaitTask) *door {
	return &door{server: server, wait: wait}
}

// run serves until ctx ends. Waiting ends with ctx, not with the server: it must
// not hold up the stop.
func (d *door) run(ctx context.Context) error { return together(ctx, d.server.Run, d.wait.Serve) }

// prepare waits until PostgreSQL answers, the schema is as it has to be, and the
// clock has taken a sample.
func prepare(ctx context.Context, log *slog.Logger, db *postgres.DB, clock *postgres.Clock, schema func(context.Context) error) error {
	if err := until(ctx, log, "PostgreSQL", db.Probe); err != nil {
		return err
	}
	if err := until(ctx, log, "the schema", schema); err != nil {
		return err
	}
	return until(ctx, log, "the time of PostgreSQL", clock.Sync)
}

// beside runs background for as long as main runs, which may still be busy for a
// while when ctx has ended.
func beside(ctx context.Context, background, main func(context.Context)) {
	side, stop := context.WithCancel(context.WithoutCancel(ctx))
	var wait sync.WaitGroup
	wait.Go(func() { background(side) })
	defer wait.Wait()
	defer stop()
	main(ctx)
}
