package application_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// desk is the waiting for tasks, between mocks that answer from a small store.
type desk struct {
	*ports
	t     *testing.T
	store *store
	air   *air
	wait  *application.WaitTask
	stop  context.CancelFunc
	gets  record[domain.TaskID]
	looks record[int] // how many tasks each GetMany was for
}

// onDesk runs the test in a bubble of its own. What the test expects of the
// ports, it declares before open.
func onDesk(t *testing.T, test func(t *testing.T, d *desk)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		test(t, &desk{ports: newPorts(t), t: t, store: newStore(), air: newAir()})
	})
}

// open lets so many callers wait at a time.
func (d *desk) open(limit int) {
	d.t.Helper()
	d.tasks.EXPECT().Get(anyArg, anyArg).DoAndReturn(func(ctx context.Context, id domain.TaskID) (*domain.Task, error) {
		d.gets.add(id)
		return d.store.get(ctx, id)
	}).AnyTimes()
	d.tasks.EXPECT().GetMany(anyArg, anyArg).DoAndReturn(d.getMany).AnyTimes()
	d.tasks.EXPECT().Versions(anyArg, anyArg).DoAndReturn(d.versions).AnyTimes()
	d.signals.EXPECT().Listen(anyArg, anyArg, anyArg).DoAndReturn(d.air.listen).AnyTimes()
	d.events.EXPECT().Turn(anyArg, anyArg).AnyTimes()
	d.wait = application.NewWaitTask(d.tasks, d.signals, d.events, application.WaitLimit(limit))
	ctx, stop := context.WithCancel(d.t.Context())
	d.stop = stop
	var serving sync.WaitGroup
	serving.Go(func() { d.wait.Serve(ctx) })
	d.t.Cleanup(func() {
		stop()
		serving.Wait()
		same(d.t, "tasks still waited for", d.wait.Waiting(), 0)
	})
	synctest.Wait()
}

func (d *desk) getMany(ctx context.Context, ids ...domain.TaskID) ([]*domain.Task, error) {
	d.looks.add(len(ids))
	var found []*domain.Task
	for _, id := range ids {
		if t, err := d.store.get(ctx, id); err == nil {
			found = append(found, t)
		}
	}
	return found, nil
}

func (d *desk) versions(ctx context.Context, ids ...domain.TaskID) (map[domain.TaskID]int64, error) {
	found := map[domain.TaskID]int64{}
	for _, id := range ids {
		if t, err := d.store.get(ctx, id); err == nil {
			found[id] = t.Version()
		}
	}
	return found, nil
}

// task puts a running task in the store.
func (d *desk) task() domain.TaskID {
	task := taken(d.t)
	d.store.put(task)
	return task.ID()
}

// complete completes the task; hint tells of it.
func (d *desk) complete(id domain.TaskID) {
	d.t.Helper()
	must(d.t, d.store.change(id, func(t *domain.Task) error { return t.Complete(t.Attempt(), "done", now()) }))
}

func (d *desk) hint(ids ...domain.TaskID) {
	d.air.send(application.Signal{Kind: application.SignalChanged, Tasks: ids})
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
		task, err := d.wait.Run(ctx, application.WaitTaskInput{ID: id, Until: hasEnded, For: limit})
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
		must(d.t, got.err)
		same(d.t, "status", got.task.Status(), status)
		same(d.t, "waited", got.took, after)
	default:
		d.t.Error("the call still waits")
	}
}
