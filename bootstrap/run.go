package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/millrace/millrace/adapters/httpapi"
	"github.com/millrace/millrace/adapters/postgres"
	"github.com/millrace/millrace/adapters/redis"
	"github.com/millrace/millrace/adapters/telemetry"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/dispatch"
	"github.com/millrace/millrace/application/usecase"
	"github.com/millrace/millrace/application/worker"
	"github.com/millrace/millrace/domain"
)

// The life of a program: wait for its servers, serve and work, stop.

// onceReady serves from the start, unready until prepare has returned, and then works
// until ctx ends.
func onceReady(ctx context.Context, ready *usecase.CheckReadiness,
	serve, prepare func(context.Context) error, work func(context.Context),
) error {
	ready.Hold()
	inner, stop := context.WithCancel(ctx)
	defer stop()
	var unprepared error
	err := runAll(inner, serve, func(ctx context.Context) {
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
	if ctx.Err() != nil { // stopped, maybe while prepare was waiting
		return nil
	}
	return unprepared
}

// prepare waits until PostgreSQL answers, the schema is right, and the clock has a sample.
// Then it looks whether Redis can serve.
func prepare(ctx context.Context, log *slog.Logger, db *postgres.DB, clock *postgres.Clock, queue *redis.Pool,
	schema func(context.Context) error,
) error {
	if err := prepareServer(ctx, log, db); err != nil {
		return err
	}
	if err := retryUntilAvailable(ctx, log, "schema", schema); err != nil {
		return err
	}
	rights := func(ctx context.Context) error { return postgres.CheckRights(ctx, db) }
	if err := retryUntilAvailable(ctx, log, "PostgreSQL", rights); err != nil {
		return err
	}
	if err := retryUntilAvailable(ctx, log, "PostgreSQL clock", clock.Sync); err != nil {
		return err
	}
	name := func(ctx context.Context) error { return nameQueue(ctx, db, queue) }
	if err := retryUntilAvailable(ctx, log, "PostgreSQL", name); err != nil {
		return err
	}
	return checkQueue(ctx, log, queue)
}

// prepareServer waits until PostgreSQL answers, and makes sure that it is fit for use.
func prepareServer(ctx context.Context, log *slog.Logger, db *postgres.DB) error {
	err := retryUntilAvailable(ctx, log, "PostgreSQL", func(ctx context.Context) error { return postgres.CheckServer(ctx, db, log) })
	if unfit, ok := errors.AsType[*postgres.UnfitError](err); ok {
		return &SettingError{Name: "DATABASE_URL", Value: hidden, Allowed: unfit.Want}
	}
	return err
}

// retryUntilAvailable calls try until it succeeds, as long as its error is
// domain.ErrUnavailable. It logs one line when the wait begins and one when it is over.
// Any other error, such as a refused password, is returned at once.
func retryUntilAvailable(ctx context.Context, log *slog.Logger, what string, try func(context.Context) error) error {
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = 200*time.Millisecond, 5*time.Second
	begun, waiting := time.Now(), false
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := try(ctx)
		if err != nil && !errors.Is(err, domain.ErrUnavailable) {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(wait), backoff.WithMaxElapsedTime(0), backoff.WithNotify(func(err error, _ time.Duration) {
		if !waiting {
			log.Warn("waiting for a dependency", "dependency", what, "error", err)
		}
		waiting = true
	}))
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if waiting {
		log.Info("dependency available", "dependency", what, "after", time.Since(begun).Round(time.Millisecond).String())
	}
	return nil
}

// runAll runs serve and work until ctx ends or serve fails, and waits for both.
func runAll(ctx context.Context, serve func(context.Context) error, work func(context.Context)) error {
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

// runWithBackground runs background until main has returned, which may be a while after
// ctx has ended.
func runWithBackground(ctx context.Context, background, main func(context.Context)) {
	side, stop := context.WithCancel(context.WithoutCancel(ctx))
	var wait sync.WaitGroup
	wait.Go(func() { background(side) })
	defer wait.Wait()
	defer stop()
	main(ctx)
}

// lastWordsTimeout bounds what a program that ends still tells of itself: who has stopped
// it waits, and kills it in the end.
const lastWordsTimeout = time.Second

// lastWords stores the statistics and exports the spans that are left, one beside the
// other, and gives up what takes too long. ctx may have ended.
func lastWords(ctx context.Context, statistics *telemetry.Statistics, traces *telemetry.Traces) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWordsTimeout)
	defer cancel()
	var wait sync.WaitGroup
	wait.Go(traces.Close)
	statistics.Flush(ctx)
	wait.Wait()
}

// workerGroup is a worker and its dispatcher.
type workerGroup struct {
	Worker     *worker.Worker
	Dispatcher *dispatch.Dispatcher
	Log        *slog.Logger
	Info       application.WorkerInfo
	startLine  []any `wire:"-"`
}

func (g *workerGroup) run(ctx context.Context) {
	g.Log.Info("worker started", append([]any{"worker", string(g.Info.ID), "capacity", g.Info.Capacity}, g.startLine...)...)
	var wait sync.WaitGroup
	wait.Go(func() { g.Dispatcher.Run(ctx) })
	g.Worker.Run(ctx)
	wait.Wait()
	g.Log.Info("worker stopped", "worker", string(g.Info.ID))
}

// apiServer is the HTTP server of the API, and the loop that its waiting requests share.
type apiServer struct {
	Server *httpapi.Server
	Wait   *usecase.WaitTask
}

// run serves until ctx ends. Waiting requests end with ctx rather than with the server, so
// that they do not delay the stop.
func (s *apiServer) run(ctx context.Context) error { return runAll(ctx, s.Server.Run, s.Wait.Serve) }
