package e2e

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/adapters/memory"
	"github.com/millrace/millrace/adapters/postgres"
	"github.com/millrace/millrace/adapters/redis"
	"github.com/millrace/millrace/adapters/sqlite"
	"github.com/millrace/millrace/adapters/telemetry"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/dispatch"
	"github.com/millrace/millrace/application/usecase"
	"github.com/millrace/millrace/application/worker"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/programs"
	"github.com/millrace/millrace/test/services"
)

// handle is a handler of the test's own, which no program has.
type handle func(ctx context.Context, t *domain.Task) error

func (h handle) Handle(ctx context.Context, t *domain.Task) (string, error) { return "", h(ctx, t) }

// harness has the adapters of a worker that runs inside the test process.
type harness struct {
	tasks      application.TaskRepository
	workers    application.WorkerRepository
	dispatch   application.DispatchRepository
	bulks      application.BulkRepository
	purges     application.PurgeRepository
	queues     application.QueueRepository
	queue      application.Queue
	clock      application.Clock
	statistics application.StatisticsRepository
}

// newServerHarness is on PostgreSQL and Redis, with a local clock that may be wrong.
func newServerHarness(t *testing.T, database, queue string, local postgres.LocalTime) harness {
	t.Helper()
	db, closeDB, err := postgres.Open(postgres.Config{URL: database})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(closeDB)
	pool, closePool, err := redis.Open(redis.Config{URL: queue, AwaitPrefix: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(closePool)
	prefix, err := postgres.QueuePrefix(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	pool.SetPrefix(prefix)
	clock := postgres.NewClock(db, local, slog.New(slog.DiscardHandler))
	programs.Eventually(t, programs.Patience, "a sample of the server's clock is good", func() bool { return clock.Sync(t.Context()) == nil })
	return harness{
		tasks: postgres.NewTaskRepository(db), workers: postgres.NewWorkerRepository(db), dispatch: postgres.NewDispatchRepository(db),
		bulks: postgres.NewBulkRepository(db), purges: postgres.NewPurgeRepository(db), queues: postgres.NewQueueRepository(db),
		statistics: postgres.NewStatisticsRepository(db),
		queue:      redis.NewQueue(pool, slog.New(slog.DiscardHandler)), clock: clock,
	}
}

// migratedDatabase is the URL of an empty database that has the schema.
func migratedDatabase(t *testing.T) string {
	t.Helper()
	url := services.PostgreSQL(t)
	db, closeDB, err := postgres.Open(postgres.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	defer closeDB()
	if err := postgres.Migrate(t.Context(), db, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	return url
}

// systemClock is the clock of the embedded programs.
type systemClock struct{}

func (systemClock) Now() time.Time { return domain.Moment(time.Now()) }

// newEmbeddedHarness is on SQLite and a queue in memory.
func newEmbeddedHarness(t *testing.T) harness {
	t.Helper()
	db, closeDB, err := sqlite.Open(t.TempDir() + "/millrace.db")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(closeDB)
	if err := sqlite.Migrate(t.Context(), db, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	return harness{
		tasks: sqlite.NewTaskRepository(db), workers: sqlite.NewWorkerRepository(db), dispatch: sqlite.NewDispatchRepository(db),
		bulks: sqlite.NewBulkRepository(db), purges: sqlite.NewPurgeRepository(db), queues: sqlite.NewQueueRepository(db),
		statistics: sqlite.NewStatisticsRepository(db),
		queue:      memory.NewQueue(), clock: systemClock{},
	}
}

// submit submits a task.
func (h harness) submit(t *testing.T, message string) *domain.Task {
	t.Helper()
	limits := usecase.SubmitLimits{MessageBytes: 1000, MaxAttempts: 3}
	in := usecase.SubmitTasksInput{Tasks: []domain.TaskSpec{{Message: message}}}
	submitted, err := usecase.NewSubmitTasks(h.tasks, h.queue, h.clock, application.NoEvents{}, limits).Run(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return submitted.Tasks[0]
}

// get reads a task.
func (h harness) get(t *testing.T, id domain.TaskID) *domain.Task {
	t.Helper()
	task, err := h.tasks.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return task
}

// run runs a worker and its dispatcher until stop is called, or the test ends.
func (h harness) run(t *testing.T, cfg worker.Config, handler handle) (stop func()) {
	t.Helper()
	info := application.WorkerInfo{ID: domain.NewWorkerID(), Host: "here", PID: 1, Version: "test", Started: h.clock.Now()}
	events := telemetry.NewLogs(slog.New(slog.NewTextHandler(t.Output(), nil)))
	w := worker.New(worker.Deps{
		Tasks: h.tasks, Workers: h.workers, Queue: h.queue, Signals: memory.NewSignals(), Handler: handler, Clock: h.clock, Events: events,
	}, info, cfg)
	dispatcher := h.dispatcher(info.ID, cfg, events)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var both sync.WaitGroup
	both.Go(func() { w.Run(ctx) })
	both.Go(func() { dispatcher.Run(ctx) })
	stop = sync.OnceFunc(func() { cancel(); both.Wait() })
	t.Cleanup(stop)
	return stop
}

// sweep runs a dispatcher without its worker until the test ends.
func (h harness) sweep(t *testing.T) {
	t.Helper()
	events := telemetry.NewLogs(slog.New(slog.NewTextHandler(t.Output(), nil)))
	runBeside(t, h.dispatcher(domain.NewWorkerID(), workerConfig(), events).Run)
}

// dispatcher makes the dispatcher beside a worker.
func (h harness) dispatcher(id domain.WorkerID, cfg worker.Config, events application.Events) *dispatch.Dispatcher {
	return dispatch.New(dispatch.Deps{
		Tasks: h.dispatch, Workers: h.workers, Bulks: h.bulks, Purges: h.purges, Queues: h.queues, Statistics: h.statistics,
		Queue: h.queue, Signals: memory.NewSignals(), Clock: h.clock, Events: events,
	}, dispatch.Config{Observer: cfg.Observer(id), Retry: cfg.Retry})
}

// runBeside runs it beside the test, and waits for its end at that of the test.
func runBeside(t *testing.T, run func(context.Context)) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var running sync.WaitGroup
	running.Go(func() { run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
}

// workerConfig is that of the programs, with a short lease.
func workerConfig() worker.Config {
	return worker.Config{
		Queues:   []worker.QueueWeight{{Name: domain.DefaultQueue, Weight: 1}},
		Capacity: 10, Lease: shortLease, TaskTimeout: time.Minute, HandlerGrace: 500 * time.Millisecond, ShutdownTimeout: time.Second,
		Retry: domain.RetryPolicy{Base: 100 * time.Millisecond, Cap: time.Second, MaxRescues: 3},
	}
}
