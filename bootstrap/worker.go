package bootstrap

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/millrace/millrace/adapters/httpapi"
	"github.com/millrace/millrace/adapters/postgres"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// Worker is cmd/worker, assembled.
type Worker struct {
	db    *postgres.DB
	clock *postgres.Clock
	crew  *crew
	admin *httpapi.Server // nil: nobody asks
	ready *application.CheckReadiness
	log   *slog.Logger
}

// NewWorker assembles the worker with the handler that the settings name; the
// returned function closes what it holds.
func NewWorker(cfg WorkerConfig, log *slog.Logger) (*Worker, func(), error) {
	return NewWorkerOn(cfg, log, time.Now)
}

// NewWorkerOn is NewWorker on a local clock other than this machine's: for tests of
// workers that disagree about the time.
func NewWorkerOn(cfg WorkerConfig, log *slog.Logger, local postgres.LocalTime) (*Worker, func(), error) {
	return withHandler(cfg.WorkConfig, log, func(h application.Handler) (*Worker, func(), error) {
		return newWorker(cfg, h, log, local)
	})
}

// NewWorkerWith assembles the worker with a handler of the caller's.
func NewWorkerWith(cfg WorkerConfig, handler application.Handler, log *slog.Logger) (*Worker, func(), error) {
	return newWorker(cfg, handler, log, time.Now)
}

func provideWorker(cfg AdminConfig, db *postgres.DB, clock *postgres.Clock, crew *crew, ready *application.CheckReadiness, log *slog.Logger) *Worker {
	w := &Worker{db: db, clock: clock, crew: crew, ready: ready, log: log}
	if cfg.AdminAddr != "" {
		w.admin = httpapi.NewAdminServer(cfg.AdminAddr, ready, log)
	}
	return w
}

// Run waits for PostgreSQL and for the schema that it needs, and works until ctx
// ends. How it is can be asked from the start.
func (w *Worker) Run(ctx context.Context) error {
	serve := func(ctx context.Context) error { // nobody asks
		<-ctx.Done()
		return nil
	}
	if w.admin != nil {
		serve = w.admin.Run
	}
	return onceReady(ctx, w.ready, serve, func(ctx context.Context) error {
		return prepare(ctx, w.log, w.db, w.clock, func(ctx context.Context) error { return postgres.CheckSchema(ctx, w.db) })
	}, func(ctx context.Context) { beside(ctx, w.clock.Run, w.crew.run) })
}

// crew is a worker and the dispatcher beside it.
type crew struct {
	worker     *application.Worker
	dispatcher *application.Dispatcher
	log        *slog.Logger
	info       application.WorkerInfo
}

func provideCrew(worker *application.Worker, dispatcher *application.Dispatcher, info application.WorkerInfo, log *slog.Logger) *crew {
	return &crew{worker: worker, dispatcher: dispatcher, log: log, info: info}
}

func (c *crew) run(ctx context.Context) {
	c.log.Info("worker started", "worker", string(c.info.ID), "capacity", c.info.Capacity)
	var wait sync.WaitGroup
	wait.Go(func() { c.dispatcher.Run(ctx) })
	c.worker.Run(ctx)
	wait.Wait()
	c.log.Info("worker ended", "worker", string(c.info.ID))
}

func provideWorkerInfo(cfg WorkConfig) application.WorkerInfo {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return application.WorkerInfo{
		ID: domain.NewWorkerID(), Host: host, PID: os.Getpid(), Version: Version(),
		Started: time.Now().UTC().Truncate(time.Microsecond), Capacity: cfg.Capacity,
	}
}

// together runs serve and work until ctx ends or serve fails, and waits for both.
func together(ctx context.Context, serve func(context.Context) error, work func(context.Context)) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var wait sync.WaitGroup
	wait.Go(func() { work(ctx) })
	err := serve(ctx)
	stop()
	wait.Wait()
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}
