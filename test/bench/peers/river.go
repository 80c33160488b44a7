package main

import (
	"context"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

// job is what River works on.
type job struct {
	Message string    `json:"message"`
	Sent    time.Time `json:"sent,omitzero"`
}

func (job) Kind() string { return "job" }

// noop does nothing, and tells that it was started.
type noop struct {
	river.WorkerDefaults[job]
	started func(job)
}

func (n *noop) Work(_ context.Context, j *river.Job[job]) error {
	n.started(j.Args)
	return nil
}

// open connects. pgx is the faster of River's drivers for PostgreSQL.
func (o options) open(ctx context.Context) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(o.database)
	if err != nil {
		return nil, err
	}
	if o.conns > 0 {
		cfg.MaxConns = int32(o.conns)
	}
	return pgxpool.NewWithConfig(ctx, cfg)
}

func riverMigrate(ctx context.Context, o options) error {
	pool, err := o.open(ctx)
	if err != nil {
		return err
	}
	defer pool.Close()
	migrator, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Logger: quiet()})
	if err != nil {
		return err
	}
	_, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, nil)
	return err
}

// inserting does something with a client that only inserts, and an empty table.
func inserting(ctx context.Context, o options, do func(*river.Client[pgx.Tx], *pgxpool.Pool) error) error {
	pool, err := o.open(ctx)
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := likeNew(ctx, pool, true); err != nil {
		return err
	}
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{Logger: quiet()})
	if err != nil {
		return err
	}
	return do(client, pool)
}

// likeNew leaves the table as every measurement finds it.
func likeNew(ctx context.Context, pool *pgxpool.Pool, empty bool) error {
	statements := []string{"VACUUM (ANALYZE) river_job", "CHECKPOINT"}
	if empty {
		statements = append([]string{"TRUNCATE river_job"}, statements...)
	}
	for _, s := range statements {
		if _, err := pool.Exec(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}

func riverInsert(ctx context.Context, o options) error {
	return inserting(ctx, o, func(client *river.Client[pgx.Tx], _ *pgxpool.Pool) error {
		return insertFor(ctx, o, func(ctx context.Context) (int, error) {
			_, err := client.Insert(ctx, job{Message: o.message}, nil)
			return 1, err
		})
	})
}

func riverBatch(ctx context.Context, o options) error {
	jobs := o.jobs(o.batch)
	return inserting(ctx, o, func(client *river.Client[pgx.Tx], _ *pgxpool.Pool) error {
		return insertFor(ctx, o, func(ctx context.Context) (int, error) { return client.InsertManyFast(ctx, jobs) })
	})
}

func (o options) jobs(n int) []river.InsertManyParams {
	jobs := make([]river.InsertManyParams, n)
	for i := range jobs {
		jobs[i].Args = job{Message: o.message}
	}
	return jobs
}

// worker makes a client that works.
func (o options) worker(pool *pgxpool.Pool, started func(job)) (*river.Client[pgx.Tx], error) {
	workers := river.NewWorkers()
	river.AddWorker(workers, &noop{started: started})
	return river.NewClient(riverpgxv5.New(pool), &river.Config{
		FetchCooldown: o.cooldown, FetchPollInterval: o.poll, // zero: the library's own
		Queues:  map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: o.workers}},
		Workers: workers,
		Logger:  quiet(),
	})
}

// riverDrain times from the completion of the last task that warmed up to that of
// the last one, by the table: as it is done with Millrace.
func riverDrain(ctx context.Context, o options) error {
	total := o.tasks + o.warmTasks
	return inserting(ctx, o, func(inserter *river.Client[pgx.Tx], pool *pgxpool.Pool) error {
		const chunk = 2000
		if err := fanOut((total+chunk-1)/chunk, 2, func(i int) error {
			_, err := inserter.InsertManyFast(ctx, o.jobs(min(chunk, total-i*chunk)))
			return err
		}); err != nil {
			return err
		}
		if err := likeNew(ctx, pool, false); err != nil {
			return err
		}
		var started atomic.Int64
		worked := make(chan struct{})
		client, err := o.worker(pool, func(job) {
			switch started.Add(1) {
			case int64(max(1, o.warmTasks)):
				begin()
			case int64(total):
				close(worked)
			}
		})
		if err != nil {
			return err
		}
		if err := client.Start(ctx); err != nil {
			return err
		}
		select {
		case <-worked:
		case <-ctx.Done():
			return ctx.Err()
		}
		for left := 1; left > 0; {
			if err := sleep(ctx, 10*time.Millisecond); err != nil {
				return err
			}
			if err := pool.QueryRow(ctx, "SELECT count(*) FROM river_job WHERE state = 'running'").Scan(&left); err != nil {
				return err
			}
		}
		var seconds float64
		if err := pool.QueryRow(ctx, `SELECT extract(epoch FROM max(f) - min(f)) FROM (
			SELECT finalized_at AS f FROM river_job WHERE state = 'completed' ORDER BY f OFFSET $1) AS measured`,
			max(0, o.warmTasks-1)).Scan(&seconds); err != nil {
			return err
		}
		end(o.tasks, time.Duration(seconds*float64(time.Second)))
		return client.StopAndCancel(ctx)
	})
}

func riverLatency(ctx context.Context, o options) error {
	return inserting(ctx, o, func(_ *river.Client[pgx.Tx], pool *pgxpool.Pool) error {
		var w waits
		client, err := o.worker(pool, func(j job) { w.started(j.Sent) })
		if err != nil {
			return err
		}
		if err := client.Start(ctx); err != nil {
			return err
		}
		err = openLoop(ctx, o, &w, func(ctx context.Context, sent time.Time) error {
			_, err := client.Insert(ctx, job{Message: o.message, Sent: sent}, nil)
			return err
		})
		if err != nil {
			return err
		}
		return client.StopAndCancel(ctx)
	})
}

// riverCourse works until it is stopped, on tasks that come at a rate, or in batches as
// fast as they start, and tells in each interval how many have started.
func riverCourse(ctx context.Context, o options) error {
	return inserting(ctx, o, func(inserter *river.Client[pgx.Tx], _ *pgxpool.Pool) error {
		pool, err := o.open(ctx) // of the worker's own: whoever submits is another program
		if err != nil {
			return err
		}
		defer pool.Close()
		var w waits
		worker, err := o.worker(pool, func(j job) { w.started(j.Sent) })
		if err != nil {
			return err
		}
		if err := worker.Start(ctx); err != nil {
			return err
		}
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		go func() {
			if o.rate == 0 {
				cancel(flood(ctx, o, inserter, &w))
				return
			}
			cancel(atRate(ctx, time.Now(), o.rate, math.MaxInt, func(ctx context.Context, _ int) error {
				_, err := inserter.Insert(ctx, job{Message: o.message, Sent: time.Now()}, nil)
				return err
			}))
		}()
		return w.tell(ctx, o)
	})
}

// flood inserts batches as long as few enough tasks wait for their start.
func flood(ctx context.Context, o options, client *river.Client[pgx.Tx], w *waits) error {
	var inserted atomic.Int64
	return fanOut(math.MaxInt, o.clients, func(int) error {
		if inserted.Load()-w.count.Load() >= int64(o.window) {
			return sleep(ctx, time.Millisecond)
		}
		inserted.Add(int64(o.batch))
		jobs, now := make([]river.InsertManyParams, o.batch), time.Now()
		for i := range jobs {
			jobs[i].Args = job{Message: o.message, Sent: now}
		}
		_, err := client.InsertManyFast(ctx, jobs)
		return err
	})
}
