package usecase_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/internal/apptest"
	"github.com/millrace/millrace/application/usecase"
	"github.com/millrace/millrace/domain"
)

// desk is the waiting for tasks, between mocks that answer from a small store.
type desk struct {
	*apptest.Ports
	t     *testing.T
	store *apptest.FakeStore
	air   *apptest.FakeSignals
	wait  *usecase.WaitTask
	stop  context.CancelFunc
	gets  apptest.Record[domain.TaskID]
	looks apptest.Record[int] // how many tasks each GetMany was for
}

// onDesk runs the test in a bubble of its own. What the test expects of the
// ports, it declares before open.
func onDesk(t *testing.T, test func(t *testing.T, d *desk)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		test(t, &desk{Ports: apptest.NewPorts(t), t: t, store: apptest.NewFakeStore(), air: apptest.NewFakeSignals()})
	})
}

// open lets so many callers wait at a time.
func (d *desk) open(limit int) {
	d.t.Helper()
	d.Tasks.EXPECT().Get(apptest.Any, apptest.Any).DoAndReturn(func(ctx context.Context, id domain.TaskID) (*domain.Task, error) {
		d.gets.Add(id)
		return d.store.Get(ctx, id)
	}).AnyTimes()
	d.Tasks.EXPECT().GetMany(apptest.Any, apptest.Any).DoAndReturn(d.getMany).AnyTimes()
	d.Tasks.EXPECT().Versions(apptest.Any, apptest.Any).DoAndReturn(d.versions).AnyTimes()
	d.Signals.EXPECT().Listen(apptest.Any, apptest.Any, apptest.Any).DoAndReturn(d.air.Listen).AnyTimes()
	d.Events.EXPECT().Turn(apptest.Any, apptest.Any, apptest.Any).AnyTimes()
	d.wait = usecase.NewWaitTask(d.Tasks, d.Signals, d.Events, usecase.WaitLimit(limit))
	ctx, stop := context.WithCancel(d.t.Context())
	d.stop = stop
	var serving sync.WaitGroup
	serving.Go(func() { d.wait.Serve(ctx) })
	d.t.Cleanup(func() {
		stop()
		serving.Wait()
		apptest.Same(d.t, "tasks still waited for", d.wait.Waiting(), 0)
	})
	synctest.Wait()
}

func (d *desk) getMany(ctx context.Context, ids ...domain.TaskID) ([]*domain.Task, error) {
	d.looks.Add(len(ids))
	var found []*domain.Task
	for _, id := range ids {
		if t, err := d.store.Get(ctx, id); err == nil {
			found = append(found, t)
		}
	}
	return found, nil
}

func (d *desk) versions(ctx context.Context, ids ...domain.TaskID) (map[domain.TaskID]int64, error) {
	found := map[domain.TaskID]int64{}
	for _, id := range ids {
		if t, err := d.store.Get(ctx, id); err == nil {
			found[id] = t.Version()
		}
	}
	return found, nil
}

// task puts a running task in the store.
func (d *desk) task() domain.TaskID {
	task := apptest.Claimed(d.t)
	d.store.Put(task)
	return task.ID()
}

// complete completes the task; hint tells of it.
func (d *desk) complete(id domain.TaskID) {
	d.t.Helper()
	apptest.Must(d.t, d.store.Change(id, func(t *domain.Task) error { return t.Complete(t.Attempt(), "done", apptest.Now()) }))
}

func (d *desk) hint(ids ...domain.TaskID) {
	d.air.Send(application.Signal{Kind: application.SignalChanged, Tasks: ids})
}

// waited is what came of a call of Run.
type waited struct {
	task *domain.Task
	err  error
	took time.Duration
}

// waits calls Run in the background and returns when it waits.
func (d *desk) waits(ctx context.Context, id domain.TaskID, limit time.Duration) <-chan waited {
	result := make(chan waited, 1)
	go func() {
		begun := time.Now()
		task, err := d.wait.Run(ctx, usecase.WaitTaskInput{ID: id, Until: hasEnded, For: limit})
		result <- waited{task, err, time.Since(begun)}
	}()
	synctest.Wait()
	return result
}

func hasEnded(t *domain.Task) bool { return t.Status().Ended() }

// want fails the test unless the call has answered after so long.
func (d *desk) want(result <-chan waited, status domain.Status, after time.Duration) {
	d.t.Helper()
	synctest.Wait()
	select {
	case got := <-result:
		apptest.Must(d.t, got.err)
		apptest.Same(d.t, "status", got.task.Status(), status)
		apptest.Same(d.t, "waited", got.took, after)
	default:
		d.t.Error("the call still waits")
	}
}
