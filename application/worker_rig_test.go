package application_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// rig is a worker between mocks. A test declares the calls that matter to it
// first; start adds what answers all other calls from a small store and a small
// queue. What no test need expect is not added: a handler, an event that tells
// of trouble.
type rig struct {
	*ports
	t      *testing.T
	cfg    application.WorkerConfig
	worker *application.Worker
	store  *store
	line   *line
	air    *air
	stop   context.CancelFunc
	ended  chan struct{} // closed when Run has returned

	// What the rig has answered, or was told.
	calls record[string] // in order, without beats
	beats record[application.Beat]
	asked record[int] // how many entries each pull wanted
	pulls record[application.PullRequest]
	ends  record[domain.Status] // of AttemptEnded
}

// onRig runs the test in a bubble of its own.
func onRig(t *testing.T, test func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		test(t, &rig{
			ports: newPorts(t), t: t, store: newStore(), line: newLine(), air: newAir(), ended: make(chan struct{}),
			cfg: application.WorkerConfig{
				Queues: []application.QueueWeight{{Name: domain.DefaultQueue, Weight: 1}}, Capacity: 3, Lease: 30 * time.Second, TaskTimeout: 5 * time.Minute, HandlerGrace: 3 * time.Second,
				ShutdownTimeout: 20 * time.Second, Retry: retryPolicy,
			},
		})
	})
}

// start runs the worker and returns when it has nothing more to do at once.
func (r *rig) start() {
	r.t.Helper()
	r.tasks.EXPECT().Get(anyArg, anyArg).DoAndReturn(r.store.get).AnyTimes()
	r.tasks.EXPECT().GetMany(anyArg, anyArg).DoAndReturn(r.store.getMany).AnyTimes()
	r.tasks.EXPECT().Save(anyArg, anyArg).DoAndReturn(r.save).AnyTimes()
	r.tasks.EXPECT().Claim(anyArg, anyArg).DoAndReturn(r.claim).AnyTimes()
	r.workers.EXPECT().Beat(anyArg, anyArg).DoAndReturn(r.beat).AnyTimes()
	r.workers.EXPECT().Leave(anyArg, anyArg).DoAndReturn(r.leave).AnyTimes()
	r.queue.EXPECT().Push(anyArg, anyArg).DoAndReturn(r.line.push).AnyTimes()
	r.queue.EXPECT().PutBack(anyArg, anyArg).DoAndReturn(r.line.putBack).AnyTimes()
	r.queue.EXPECT().Pull(anyArg, anyArg).DoAndReturn(r.pull).AnyTimes()
	r.signals.EXPECT().Send(anyArg).Do(r.air.send).AnyTimes()
	r.signals.EXPECT().Listen(anyArg, anyArg, anyArg).DoAndReturn(r.air.listen).AnyTimes()
	r.events.EXPECT().AttemptStarted(anyArg).AnyTimes()
	r.events.EXPECT().AttemptEnded(anyArg, anyArg, anyArg).Do(r.attemptEnded).AnyTimes()
	r.events.EXPECT().Turn(anyArg, anyArg).AnyTimes()

	r.worker = application.NewWorker(application.WorkerInfo{ID: "w"}, r.cfg, r.tasks, r.workers,
		r.queue, r.signals, r.handler, r.clock, r.events)
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
	r.handler.EXPECT().Handle(anyArg, anyArg).DoAndReturn(do.handle).AnyTimes()
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
		task, err := domain.NewTask(spec, now())
		must(r.t, err)
		task.MarkStored()
		r.store.put(task)
		ids[i], entries[i] = task.ID(), application.EntryOf(task)
	}
	must(r.t, r.line.push(r.t.Context(), entries...))
	return ids
}

// enqueueOne submits a task.
func (r *rig) enqueueOne() domain.TaskID { return r.enqueue(1)[0] }

// wantStatus fails the test unless all of the tasks have the status.
func (r *rig) wantStatus(want domain.Status, ids ...domain.TaskID) {
	r.t.Helper()
	for i, id := range ids {
		if got := r.store.state(id).Status; got != want {
			r.t.Errorf("task %d is %s, want %s", i, got, want)
		}
	}
}

func (r *rig) save(ctx context.Context, t *domain.Task) error {
	r.calls.add("save")
	return r.store.save(ctx, t)
}

func (r *rig) claim(ctx context.Context, c application.ClaimRequest) (application.Claimed, error) {
	r.calls.add("claim")
	return r.store.claim(ctx, c)
}

func (r *rig) beat(_ context.Context, beat application.Beat) (application.BeatAnswer, error) {
	r.beats.add(beat)
	return application.BeatAnswer{}, nil
}

func (r *rig) leave(ctx context.Context, _ domain.WorkerID) error {
	r.calls.add("leave")
	return ctx.Err()
}

func (r *rig) pull(ctx context.Context, p application.PullRequest) ([]application.Entry, error) {
	r.calls.add("pull")
	r.asked.add(p.Max)
	r.pulls.add(p)
	return r.line.pull(ctx, p)
}

func (r *rig) attemptEnded(t *domain.Task, _ time.Duration, _ error) {
	r.ends.add(t.Status())
}

// pass lets time pass, and all that is to happen by then.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
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
func untilTold(ctx context.Context, _ *domain.Task) error { return untilEnded(ctx) }

// interval is how often the worker beats.
func (r *rig) interval() time.Duration { return r.cfg.Lease / 10 }
