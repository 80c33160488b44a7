package worker_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/internal/apptest"
	"github.com/millrace/millrace/application/worker"
	"github.com/millrace/millrace/domain"
)

// rig is a worker between mocks. A test declares the calls that matter to it
// first; start adds what answers all other calls from a small store and a small
// queue. What no test need expect is not added: a handler, an event that tells
// of trouble.
type rig struct {
	*apptest.Ports
	t      *testing.T
	cfg    worker.Config
	worker *worker.Worker
	store  *apptest.FakeStore
	line   *apptest.FakeQueue
	air    *apptest.FakeSignals
	stop   context.CancelFunc
	ended  chan struct{} // closed when Run has returned

	// What the rig has answered, or was told.
	calls apptest.Record[string] // in order, without beats
	beats apptest.Record[application.Beat]
	asked apptest.Record[int] // how many entries each pull wanted
	pulls apptest.Record[application.PullRequest]
	ends  apptest.Record[domain.Status] // of AttemptEnded
}

// onRig runs the test in a bubble of its own.
func onRig(t *testing.T, test func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		test(t, &rig{
			Ports: apptest.NewPorts(t), t: t, store: apptest.NewFakeStore(), line: apptest.NewFakeQueue(), air: apptest.NewFakeSignals(), ended: make(chan struct{}),
			cfg: worker.Config{
				Queues: []worker.QueueWeight{{Name: domain.DefaultQueue, Weight: 1}}, Capacity: 3, Lease: 30 * time.Second, TaskTimeout: 5 * time.Minute, HandlerGrace: 3 * time.Second,
				ShutdownTimeout: 20 * time.Second, Retry: apptest.RetryPolicy,
			},
		})
	})
}

// start runs the worker and returns when it has nothing more to do at once.
func (r *rig) start() {
	r.t.Helper()
	r.Tasks.EXPECT().Get(apptest.Any, apptest.Any).DoAndReturn(r.store.Get).AnyTimes()
	r.Tasks.EXPECT().GetMany(apptest.Any, apptest.Any).DoAndReturn(r.store.GetMany).AnyTimes()
	r.Tasks.EXPECT().Save(apptest.Any, apptest.Any).DoAndReturn(r.save).AnyTimes()
	r.Tasks.EXPECT().Claim(apptest.Any, apptest.Any).DoAndReturn(r.claim).AnyTimes()
	r.Workers.EXPECT().Beat(apptest.Any, apptest.Any).DoAndReturn(r.beat).AnyTimes()
	r.Workers.EXPECT().Leave(apptest.Any, apptest.Any).DoAndReturn(r.leave).AnyTimes()
	r.Queue.EXPECT().Push(apptest.Any, apptest.Any).DoAndReturn(r.line.Push).AnyTimes()
	r.Queue.EXPECT().PutBack(apptest.Any, apptest.Any).DoAndReturn(r.line.PutBack).AnyTimes()
	r.Queue.EXPECT().Pull(apptest.Any, apptest.Any).DoAndReturn(r.pull).AnyTimes()
	r.Signals.EXPECT().Send(apptest.Any).Do(r.air.Send).AnyTimes()
	r.Signals.EXPECT().Listen(apptest.Any, apptest.Any, apptest.Any).DoAndReturn(r.air.Listen).AnyTimes()
	r.Events.EXPECT().AttemptStarted(apptest.Any, apptest.Any).AnyTimes()
	r.Events.EXPECT().AttemptEnded(apptest.Any, apptest.Any, apptest.Any, apptest.Any).Do(r.attemptEnded).AnyTimes()
	r.Events.EXPECT().Turn(apptest.Any, apptest.Any, apptest.Any).AnyTimes()

	r.worker = worker.New(worker.Deps{
		Tasks: r.Tasks, Workers: r.Workers, Queue: r.Queue, Signals: r.Signals, Handler: r.Handler, Clock: r.Clock, Events: r.Events,
	}, application.WorkerInfo{ID: "w"}, r.cfg)
	ctx, stop := context.WithCancel(r.t.Context())
	r.stop = stop
	go func() {
		defer close(r.ended)
		r.worker.Run(ctx)
	}()
	r.t.Cleanup(func() {
		stop()
		<-r.ended
	})
	synctest.Wait()
}

// stopAndWait stops the worker and returns how long it took to end.
func (r *rig) stopAndWait() time.Duration {
	begun := time.Now()
	r.stop()
	<-r.ended
	return time.Since(begun)
}

// handles says what the handler does, as often as it is called.
func (r *rig) handles(do work) {
	r.Handler.EXPECT().Handle(apptest.Any, apptest.Any).DoAndReturn(do.handle).AnyTimes()
}

// work is what a handler does.
type work func(ctx context.Context, task *domain.Task) error

// handle does the work; its result is "done", whatever the error.
func (do work) handle(ctx context.Context, task *domain.Task) (string, error) {
	err := do(ctx, task)
	return "done", err
}

// enqueue submits n tasks.
func (r *rig) enqueue(n int) []domain.TaskID { return r.enqueueIn(domain.DefaultQueue, n) }

// enqueueIn submits n tasks to the queue.
func (r *rig) enqueueIn(q domain.QueueName, n int) []domain.TaskID {
	r.t.Helper()
	return r.submit(n, domain.TaskSpec{Message: "Hello World", MaxAttempts: 3, Queue: q})
}

// submit submits n tasks of that kind.
func (r *rig) submit(n int, spec domain.TaskSpec) []domain.TaskID {
	r.t.Helper()
	ids := make([]domain.TaskID, n)
	entries := make([]application.Entry, n)
	for i := range ids {
		task, err := domain.NewTask(spec, apptest.Now())
		apptest.Must(r.t, err)
		task.MarkStored()
		r.store.Put(task)
		ids[i], entries[i] = task.ID(), application.EntryOf(task)
	}
	apptest.Must(r.t, r.line.Push(r.t.Context(), entries...))
	return ids
}

// enqueueOne submits a task.
func (r *rig) enqueueOne() domain.TaskID { return r.enqueue(1)[0] }

// wantStatus fails the test unless all of the tasks have the status.
func (r *rig) wantStatus(want domain.Status, ids ...domain.TaskID) {
	r.t.Helper()
	for i, id := range ids {
		if got := r.store.State(id).Status; got != want {
			r.t.Errorf("task %d is %s, want %s", i, got, want)
		}
	}
}

func (r *rig) save(ctx context.Context, t *domain.Task) error {
	r.calls.Add("save")
	return r.store.Save(ctx, t)
}

func (r *rig) claim(ctx context.Context, c application.ClaimRequest) (application.ClaimResult, error) {
	r.calls.Add("claim")
	return r.store.Claim(ctx, c)
}

func (r *rig) beat(_ context.Context, beat application.Beat) (application.BeatAnswer, error) {
	r.beats.Add(beat)
	return application.BeatAnswer{}, nil
}

func (r *rig) leave(ctx context.Context, _ domain.WorkerID) error {
	r.calls.Add("leave")
	return ctx.Err()
}

func (r *rig) pull(ctx context.Context, p application.PullRequest) ([]application.Entry, error) {
	r.calls.Add("pull")
	r.asked.Add(p.Max)
	r.pulls.Add(p)
	return r.line.Pull(ctx, p)
}

func (r *rig) attemptEnded(_ context.Context, t *domain.Task, _ time.Duration, _ error) {
	r.ends.Add(t.Status())
}

// forTime is a handler that works for so long, unless its context ends.
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

// untilTold is a handler that works until its context ends.
func untilTold(ctx context.Context, _ *domain.Task) error { return apptest.UntilEnded(ctx) }

// interval is how often the worker beats.
func (r *rig) interval() time.Duration { return r.cfg.Lease / 10 }
