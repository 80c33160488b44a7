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
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/dispatch"
	"github.com/millrace/millrace/application/usecase"
	"github.com/millrace/millrace/application/worker"
	"github.com/millrace/millrace/domain"
)

// What the programs do in order: wait for what they need, serve and work, end.

// onceReady serves from the start, held until prepare has brought about all that
// the program needs, and then works until ctx ends.
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
	if ctx.Err() != nil { // told to end, while it was still waiting maybe
		return nil
	}
	return unprepared
}

// prepare waits until PostgreSQL answers, the schema is as it has to be, and the
// clock has taken a sample.
func prepare(ctx context.Context, log *slog.Logger, db *postgres.DB, clock *postgres.Clock, schema func(context.Context) error) error {
	if err := retryUntilAvailable(ctx, log, "PostgreSQL", db.Ping); err != nil {
		return err
	}
	if err := retryUntilAvailable(ctx, log, "the schema", schema); err != nil {
		return err
	}
	return retryUntilAvailable(ctx, log, "the time of PostgreSQL", clock.Sync)
}

// retryUntilAvailable tries until it works, for as long as what it needs is merely away, with
// one line when the wait begins and one when it is over. Any other failure, a
// refused password say, is returned at once.
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
			log.Warn("waiting for "+what, "error", err)
		}
		waiting = true
	}))
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if waiting {
		log.Info(what+" is there", "after", time.Since(begun).Round(time.Millisecond).String())
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

// runWithBackground runs background for as long as main runs, which may still be busy for a
// while when ctx has ended.
func runWithBackground(ctx context.Context, background, main func(context.Context)) {
	side, stop := context.WithCancel(context.WithoutCancel(ctx))
	var wait sync.WaitGroup
	wait.Go(func() { background(side) })
	defer wait.Wait()
	defer stop()
	main(ctx)
}

// workerGroup is a worker and the dispatcher runWithBackground it.
type workerGroup struct {
	Worker     *worker.Worker
	Dispatcher *dispatch.Dispatcher
	Log        *slog.Logger
	Info       application.WorkerInfo
}

func (g *workerGroup) run(ctx context.Context) {
	g.Log.Info("worker started", "worker", string(g.Info.ID), "capacity", g.Info.Capacity)
	var wait sync.WaitGroup
	wait.Go(func() { g.Dispatcher.Run(ctx) })
	g.Worker.Run(ctx)
	wait.Wait()
	g.Log.Info("worker ended", "worker", string(g.Info.ID))
}

// apiServer is the server of the API, and the loop that its waiting clients share.
type apiServer struct {
	Server *httpapi.Server
	Wait   *usecase.WaitTask
}

// run serves until ctx ends. Waiting ends with ctx, not with the server: it must
// not hold up the stop.
func (s *apiServer) run(ctx context.Context) error { return runAll(ctx, s.Server.Run, s.Wait.Serve) }
