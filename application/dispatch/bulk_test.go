package dispatch_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/mock/gomock"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/dispatch"
	"github.com/millrace/millrace/application/internal/apptest"
	"github.com/millrace/millrace/domain"
)

// stepping answers the dispatcher's steps with one action after the other, of which
// each step decides on the tasks that are given for it.
func stepping(t *testing.T, p *apptest.Ports, action application.BulkAction, steps ...[]*domain.Task) {
	t.Helper()
	n := 0
	p.Bulks.EXPECT().Step(apptest.Any, apptest.Any).DoAndReturn(
		func(_ context.Context, s application.BulkStep) (b application.Bulk, changed []*domain.Task, found bool, _ error) {
			apptest.Same(t, "tasks to change at most", s.Limit, 200)
			apptest.Same(t, "tasks to look at", s.Window, application.SearchWindow)
			apptest.Same(t, "time", s.Now, apptest.Now())
			b.Action = action
			if n++; n > len(steps) {
				return b, nil, false, nil
			}
			for _, task := range steps[n-1] {
				if s.Decide(b, task) == nil && task.Dirty() {
					task.MarkStored()
					changed = append(changed, task)
				}
			}
			return b, changed, true, nil
		}).Times(len(steps) + 1)
}

func idsOf(tasks ...*domain.Task) (ids []domain.TaskID) {
	for _, task := range tasks {
		ids = append(ids, task.ID())
	}
	return ids
}

func TestDispatcher_DoesABulkActionStepByStepAndTells(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for action, c := range map[application.BulkAction]struct {
			made    func(t *testing.T) *domain.Task
			signals []application.SignalKind
			pushes  bool
			status  domain.Status
		}{
			application.BulkCancel: {apptest.NewTask, []application.SignalKind{application.SignalChanged}, false, domain.StatusCanceled},
			application.BulkStop: {
				apptest.Claimed, []application.SignalKind{application.SignalStop, application.SignalChanged}, false, domain.StatusProcessing,
			},
			application.BulkRetry: {apptest.Failed, []application.SignalKind{application.SignalChanged}, true, domain.StatusPending},
		} {
			p, signals := apptest.NewPorts(t), apptest.NewSignals()
			first, second := []*domain.Task{c.made(t), c.made(t)}, []*domain.Task{c.made(t)}
			stepping(t, p, action, first, []*domain.Task{apptest.Canceled(t)}, second) // the second step changes nothing
			p.Signals.EXPECT().Send(apptest.Any).Do(signals.Send).AnyTimes()
			gomock.InOrder(p.Events.EXPECT().Swept(apptest.Any, application.SweepBulk, 2), p.Events.EXPECT().Swept(apptest.Any, application.SweepBulk, 1))
			if c.pushes {
				for _, tasks := range [][]*domain.Task{first, second} {
					p.Queue.EXPECT().Push(apptest.Any, entriesAt(apptest.Now(), tasks...)...).Return(nil)
				}
			}

			apptest.Must(t, dispatch.NewBulk(deps(p)).Sweep(t.Context()))

			var want []application.Signal
			for _, ids := range [][]domain.TaskID{idsOf(first...), idsOf(second...)} {
				for _, kind := range c.signals {
					want = append(want, application.Signal{Kind: kind, Tasks: ids})
				}
			}
			apptest.Equal(t, "signals", signals.Sent.List(), want)
			for _, task := range slices.Concat(first, second) {
				apptest.Same(t, "status", task.Status(), c.status)
				apptest.Same(t, "asked to stop", task.StopRequested(), action == application.BulkStop)
			}
		}
	})
}

// entriesAt are the entries of tasks in the default queue that are marked then.
func entriesAt(at time.Time, tasks ...*domain.Task) (entries []any) {
	for _, task := range tasks {
		entries = append(entries, apptest.Entry(task.ID(), at))
	}
	return entries
}

func TestDispatcher_ABulkActionLeavesWhatIsInNoStateForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for action, tasks := range map[application.BulkAction][]*domain.Task{
			application.BulkCancel: {apptest.Claimed(t), apptest.Failed(t), apptest.Canceled(t)},
			application.BulkStop:   {apptest.Failed(t), apptest.Canceled(t)},
			application.BulkRetry:  {apptest.NewTask(t), apptest.Claimed(t), apptest.Canceled(t)},
			"delete":               {apptest.NewTask(t), apptest.Claimed(t), apptest.Failed(t), apptest.Canceled(t)}, // of a later version
		} {
			p := apptest.NewPorts(t) // no signal, no push and no event is expected
			stepping(t, p, action, tasks)
			apptest.Must(t, dispatch.NewBulk(deps(p)).Sweep(t.Context()))
		}
	})
}

func TestDispatcher_GoesOnWithABulkActionWhenAPushFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := apptest.NewPorts(t)
		stepping(t, p, application.BulkRetry, []*domain.Task{apptest.Failed(t)}, []*domain.Task{apptest.Failed(t)})
		p.Signals.EXPECT().Send(apptest.Any).Times(2)
		p.Events.EXPECT().Swept(apptest.Any, application.SweepBulk, 1).Times(2)
		p.Queue.EXPECT().Push(apptest.Any, apptest.Any).Return(domain.ErrUnavailable).Times(2)

		apptest.Must(t, dispatch.NewBulk(deps(p)).Sweep(t.Context()))
	})
}

func TestDispatcher_LooksForBulkActionsEverySecondAndTellsOfAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := apptest.NewPorts(t)
		p.Bulks.EXPECT().Step(apptest.Any, apptest.Any).Return(application.Bulk{}, nil, false, domain.ErrUnavailable).Times(3)
		p.Events.EXPECT().Turn(apptest.Any, application.SweepBulk, domain.ErrUnavailable).Times(3)

		runFor(t, p, 3*time.Second)
	})
}
