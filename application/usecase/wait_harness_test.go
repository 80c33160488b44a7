package usecase_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/usecase"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/apptest"
)

// waitHarness drives a WaitTask between mocks that answer from the embedded store.
type waitHarness struct {
	*apptest.Ports
	t     *testing.T
	store *apptest.Store
	sent  *apptest.Signals
	wait  *usecase.WaitTask
	stop  context.CancelFunc
	gets  apptest.Record[domain.TaskID]
	reads apptest.Record[int] // how many tasks each GetMany was for
}

// withWaiting runs the test in a bubble of its own. What the test expects of the
// ports, it declares before open.
func withWaiting(t *testing.T, test func(t *testing.T, h *waitHarness)) {
	t.Helper()
	t.Parallel() // a store has a file each, which takes its time
	synctest.Test(t, func(t *testing.T) {
		test(t, &waitHarness{Ports: apptest.NewPorts(t), t: t, store: apptest.NewStore(t), sent: apptest.NewSignals()})
	})
}

// open lets up to limit callers wait at a time.
func (h *waitHarness) open(limit int) {
	h.t.Helper()
	h.Tasks.EXPECT().Get(apptest.Any, apptest.Any).DoAndReturn(func(ctx context.Context, id domain.TaskID) (*domain.Task, error) {
		h.gets.Add(id)
		return h.store.Get(ctx, id)
	}).AnyTimes()
	h.Tasks.EXPECT().GetMany(apptest.Any, apptest.Any).DoAndReturn(h.getMany).AnyTimes()
	h.Tasks.EXPECT().Versions(apptest.Any, apptest.Any).DoAndReturn(h.store.Versions).AnyTimes()
	h.Signals.EXPECT().Listen(apptest.Any, apptest.Any, apptest.Any).DoAndReturn(h.sent.Listen).AnyTimes()
	h.Events.EXPECT().LoopRan(apptest.Any, apptest.Any, apptest.Any).AnyTimes()
	h.wait = usecase.NewWaitTask(h.Tasks, h.Signals, h.Events, usecase.WaitLimit(limit))
	ctx, stop := context.WithCancel(h.t.Context())
	h.stop = stop
	var serving sync.WaitGroup
	serving.Go(func() { h.wait.Serve(ctx) })
	h.t.Cleanup(func() {
		stop()
		serving.Wait()
		apptest.Same(h.t, "tasks still waited for", h.wait.Waiting(), 0)
	})
	synctest.Wait()
}

func (h *waitHarness) getMany(ctx context.Context, ids ...domain.TaskID) ([]*domain.Task, []domain.TaskID, error) {
	h.reads.Add(len(ids))
	return h.store.GetMany(ctx, ids...)
}

// task puts a running task in the store.
func (h *waitHarness) task() domain.TaskID {
	task := apptest.Claimed(h.t)
	h.store.Put(task)
	return task.ID()
}

// complete completes the task; hint signals it.
func (h *waitHarness) complete(id domain.TaskID) {
	h.t.Helper()
	apptest.Must(h.t, h.store.Change(id, func(t *domain.Task) error { return t.Complete(t.Attempt(), "done", apptest.Now()) }))
}

// delete takes the task away.
func (h *waitHarness) delete(id domain.TaskID) {
	h.t.Helper()
	h.complete(id)
	task, err := h.store.Get(h.t.Context(), id)
	apptest.Must(h.t, err)
	apptest.Must(h.t, task.Delete())
	apptest.Must(h.t, h.store.TaskRepository.Delete(h.t.Context(), task))
}

func (h *waitHarness) hint(ids ...domain.TaskID) {
	h.sent.Send(application.Signal{Kind: application.SignalChanged, Tasks: ids})
}

// waited is what came of a call of Run.
type waited struct {
	task *domain.Task
	err  error
	took time.Duration
}

// waits calls Run in the background and returns when it waits.
func (h *waitHarness) waits(ctx context.Context, id domain.TaskID, limit time.Duration) <-chan waited {
	result := make(chan waited, 1)
	go func() {
		begun := time.Now()
		task, err := h.wait.Run(ctx, usecase.WaitTaskInput{ID: id, Until: hasEnded, For: limit})
		result <- waited{task, err, time.Since(begun)}
	}()
	synctest.Wait()
	return result
}

func hasEnded(t *domain.Task) bool { return t.Status().Ended() }

// want fails the test unless the call has answered after that time.
func (h *waitHarness) want(result <-chan waited, status domain.Status, after time.Duration) {
	h.t.Helper()
	synctest.Wait()
	select {
	case got := <-result:
		apptest.Must(h.t, got.err)
		apptest.Same(h.t, "status", got.task.Status(), status)
		apptest.Same(h.t, "waited", got.took, after)
	default:
		h.t.Error("the call still waits")
	}
}
