package worker_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/adapters/memory"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/worker"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/apptest"
)

// harness is a worker between mocks. A test declares the calls that matter to it
// first; start lets the embedded store, queue and signals answer all other calls. It
// adds no handler, and no event that reports trouble: those a test has to expect.
type harness struct {
	*apptest.Ports
	t      *testing.T
	cfg    worker.Config
	worker *worker.Worker
	store  *apptest.Store
	queue  *memory.Queue
	sent   *apptest.Signals // with a record of what was sent
	stop   context.CancelFunc
	ended  chan struct{} // closed when Run has returned

	// What the harness has answered, or was called with.
	calls    apptest.Record[string] // in order, without beats
	beats    apptest.Record[application.Beat]
	asked    apptest.Record[int] // how many entries each pull wanted
	pulls    apptest.Record[application.PullRequest]
	ends     apptest.Record[domain.Status]         // of AttemptEnded
	outcomes apptest.Record[domain.AttemptOutcome] // of AttemptEnded
}

// withHarness runs the test in a bubble of its own.
func withHarness(t *testing.T, test func(t *testing.T, h *harness)) {
	t.Helper()
	t.Parallel() // a store has a file each, which takes its time
	synctest.Test(t, func(t *testing.T) {
		test(t, &harness{
			Ports: apptest.NewPorts(t), t: t, store: apptest.NewStore(t), queue: memory.NewQueue(), sent: apptest.NewSignals(), ended: make(chan struct{}),
			cfg: worker.Config{
				Queues: []worker.QueueWeight{{Name: domain.DefaultQueue, Weight: 1}}, Capacity: 3, Lease: 30 * time.Second, TaskTimeout: 5 * time.Minute, HandlerGrace: 3 * time.Second,
				ShutdownTimeout: 20 * time.Second, Retry: apptest.RetryPolicy,
			},
		})
	})
}

// start runs the worker and returns when it has nothing more to do at once.
func (h *harness) start() {
	h.t.Helper()
	h.Tasks.EXPECT().Get(apptest.Any, apptest.Any).DoAndReturn(h.store.Get).AnyTimes()
	h.Tasks.EXPECT().GetMany(apptest.Any, apptest.Any).DoAndReturn(h.store.GetMany).AnyTimes()
	h.Tasks.EXPECT().Save(apptest.Any, apptest.Any).DoAndReturn(h.save).AnyTimes()
	h.Tasks.EXPECT().Claim(apptest.Any, apptest.Any).DoAndReturn(h.claim).AnyTimes()
	h.Workers.EXPECT().Beat(apptest.Any, apptest.Any).DoAndReturn(h.beat).AnyTimes()
	h.Workers.EXPECT().Leave(apptest.Any, apptest.Any).DoAndReturn(h.leave).AnyTimes()
	h.Queue.EXPECT().Push(apptest.Any, apptest.Any).DoAndReturn(h.queue.Push).AnyTimes()
	h.Queue.EXPECT().PutBack(apptest.Any, apptest.Any).DoAndReturn(h.queue.PutBack).AnyTimes()
	h.Queue.EXPECT().Pull(apptest.Any, apptest.Any).DoAndReturn(h.pull).AnyTimes()
	h.Signals.EXPECT().Send(apptest.Any).Do(h.sent.Send).AnyTimes()
	h.Signals.EXPECT().Listen(apptest.Any, apptest.Any, apptest.Any).DoAndReturn(h.sent.Listen).AnyTimes()
	h.Events.EXPECT().AttemptStarting(apptest.Any, apptest.Any, apptest.Any).DoAndReturn(application.NoEvents{}.AttemptStarting).AnyTimes()
	h.Events.EXPECT().AttemptEnded(apptest.Any, apptest.Any, apptest.Any).Do(h.attemptEnded).AnyTimes()
	h.Events.EXPECT().LoopRan(apptest.Any, apptest.Any, apptest.Any).AnyTimes()

	h.worker = worker.New(worker.Deps{
		Tasks: h.Tasks, Workers: h.Workers, Queue: h.Queue, Signals: h.Signals, Handler: h.Handler, Clock: h.Clock, Events: h.Events,
	}, application.WorkerInfo{ID: "w", Started: apptest.Now()}, h.cfg)
	ctx, stop := context.WithCancel(h.t.Context())
	h.stop = stop
	go func() {
		defer close(h.ended)
		h.worker.Run(ctx)
	}()
	h.t.Cleanup(func() {
		stop()
		<-h.ended
	})
	synctest.Wait()
}

// stopAndWait stops the worker and returns how long it took to end.
func (h *harness) stopAndWait() time.Duration {
	begun := time.Now()
	h.stop()
	<-h.ended
	return time.Since(begun)
}

// handles says what the handler does, as often as it is called.
func (h *harness) handles(do work) {
	h.Handler.EXPECT().Handle(apptest.Any, apptest.Any).DoAndReturn(do.handle).AnyTimes()
}

// work is what a handler does.
type work func(ctx context.Context, task *domain.Task) error

// handle does the work; its result is "done", whatever the error.
func (do work) handle(ctx context.Context, task *domain.Task) (string, error) {
	err := do(ctx, task)
	return "done", err
}

// enqueue submits n tasks.
func (h *harness) enqueue(n int) []domain.TaskID { return h.enqueueIn(domain.DefaultQueue, n) }

// enqueueIn submits n tasks to the queue.
func (h *harness) enqueueIn(q domain.QueueName, n int) []domain.TaskID {
	h.t.Helper()
	return h.submit(n, domain.TaskSpec{Message: "Hello World", MaxAttempts: new(3), Queue: new(q)})
}

// submit submits n tasks of that kind.
func (h *harness) submit(n int, spec domain.TaskSpec) []domain.TaskID {
	h.t.Helper()
	ids := make([]domain.TaskID, n)
	entries, tasks := make([]application.Entry, n), make([]*domain.Task, n)
	for i := range ids {
		task, err := domain.NewTask(spec, apptest.Now())
		apptest.Must(h.t, err)
		tasks[i], ids[i], entries[i] = task, task.ID(), application.EntryOf(task)
	}
	h.store.Put(tasks...)
	apptest.Must(h.t, h.queue.Push(h.t.Context(), entries...))
	return ids
}

// enqueueOne submits a task.
func (h *harness) enqueueOne() domain.TaskID { return h.enqueue(1)[0] }

// wantStatus fails the test unless all of the tasks have the status.
func (h *harness) wantStatus(want domain.Status, ids ...domain.TaskID) {
	h.t.Helper()
	for i, id := range ids {
		if got := h.store.State(id).Status; got != want {
			h.t.Errorf("task %d is %s, want %s", i, got, want)
		}
	}
}

func (h *harness) save(ctx context.Context, t *domain.Task) error {
	h.calls.Add("save")
	return h.store.Save(ctx, t)
}

func (h *harness) claim(ctx context.Context, c application.ClaimRequest) (application.ClaimResult, error) {
	h.calls.Add("claim")
	return h.store.Claim(ctx, c)
}

func (h *harness) beat(ctx context.Context, beat application.Beat) (application.BeatAnswer, error) {
	h.beats.Add(beat)
	return h.store.Workers.Beat(ctx, beat)
}

func (h *harness) leave(ctx context.Context, _ domain.WorkerID) error {
	h.calls.Add("leave")
	return ctx.Err()
}

func (h *harness) pull(ctx context.Context, p application.PullRequest) ([]application.Entry, error) {
	h.calls.Add("pull")
	h.asked.Add(p.Max)
	h.pulls.Add(p)
	return h.queue.Pull(ctx, p)
}

func (h *harness) attemptEnded(_ context.Context, t *domain.Task, end application.AttemptEnd) {
	h.ends.Add(t.Status())
	h.outcomes.Add(end.Outcome)
}

// forTime is a handler that works for d, unless its context ends.
func forTime(d time.Duration) work {
	return func(ctx context.Context, _ *domain.Task) error {
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// returning is a handler that returns err at once.
func returning(err error) work {
	return func(context.Context, *domain.Task) error { return err }
}

// untilCanceled is a handler that works until its context ends.
func untilCanceled(ctx context.Context, _ *domain.Task) error { return apptest.UntilEnded(ctx) }

// interval is how often the worker beats.
func (h *harness) interval() time.Duration { return h.cfg.Lease / domain.BeatsPerLease }
