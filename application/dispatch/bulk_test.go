package dispatch_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/mock/gomock"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/dispatch"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/apptest"
)

// stepping answers the dispatcher's steps with one action after the other, of which
// each step decides on the tasks that are given for it.
func stepping(t *testing.T, p *apptest.Ports, action domain.BulkAction, steps ...[]*domain.Task) {
	t.Helper()
	n := 0
	p.Bulks.EXPECT().Step(apptest.Any, apptest.Any).DoAndReturn(
		func(_ context.Context, s application.BulkStep) (result application.BulkStepResult, _ error) {
			apptest.Same(t, "tasks to change at most", s.Limit, 200)
			apptest.Same(t, "tasks to look at", s.Window, application.SearchWindow)
			apptest.Same(t, "time", s.Now, apptest.Now())
			if n++; n > len(steps) {
				return result, nil
			}
			result.Found, result.Bulk.Action = true, action
			for _, task := range steps[n-1] {
				if s.Decide(result.Bulk, task) == nil && task.Dirty() {
					task.MarkStored()
					result.Changed = append(result.Changed, task)
				}
			}
			return result, nil
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
		for action, c := range map[domain.BulkAction]struct {
			made    func(t *testing.T) *domain.Task
			signals []application.SignalKind
			pushes  bool
			status  domain.Status
		}{
			domain.BulkCancel: {apptest.NewTask, []application.SignalKind{application.SignalChanged}, false, domain.StatusCanceled},
			domain.BulkStop: {
				apptest.Claimed, []application.SignalKind{application.SignalStop, application.SignalChanged}, false, domain.StatusProcessing,
			},
			domain.BulkRetry:  {apptest.Failed, []application.SignalKind{application.SignalChanged}, true, domain.StatusPending},
			domain.BulkDelete: {apptest.Canceled, []application.SignalKind{application.SignalChanged}, false, domain.StatusCanceled}, // ended before: nothing to tell
		} {
			p, signals := apptest.NewPorts(t), apptest.NewSignals()
			first, second := []*domain.Task{c.made(t), c.made(t)}, []*domain.Task{c.made(t)}
			stepping(t, p, action, first, nil, second) // the second step changes nothing
			p.Signals.EXPECT().Send(apptest.Any).Do(signals.Send).AnyTimes()
			gomock.InOrder(p.Events.EXPECT().Swept(apptest.Any, application.SweepBulk, 2), p.Events.EXPECT().Swept(apptest.Any, application.SweepBulk, 1))
			switch action {
			case domain.BulkCancel:
				gomock.InOrder(p.Events.EXPECT().TasksCanceled(apptest.Any, first), p.Events.EXPECT().TasksCanceled(apptest.Any, second))
			case domain.BulkRetry:
				gomock.InOrder(p.Events.EXPECT().TasksReopened(apptest.Any, first), p.Events.EXPECT().TasksReopened(apptest.Any, second))
			}
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
				apptest.Same(t, "asked to stop", task.StopRequested(), action == domain.BulkStop)
				apptest.Same(t, "deleted", task.Deleted(), action == domain.BulkDelete)
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
		for action, tasks := range map[domain.BulkAction][]*domain.Task{
			domain.BulkCancel: {apptest.Claimed(t), apptest.Failed(t), apptest.Canceled(t)},
			domain.BulkStop:   {apptest.Failed(t), apptest.Canceled(t)},
			domain.BulkRetry:  {apptest.NewTask(t), apptest.Claimed(t), apptest.Canceled(t)},
			domain.BulkDelete: {apptest.NewTask(t), apptest.Claimed(t)},
			"purge":           {apptest.NewTask(t), apptest.Claimed(t), apptest.Failed(t), apptest.Canceled(t)}, // of a later version
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
		stepping(t, p, domain.BulkRetry, []*domain.Task{apptest.Failed(t)}, []*domain.Task{apptest.Failed(t)})
		p.Signals.EXPECT().Send(apptest.Any).Times(2)
		p.Events.EXPECT().Swept(apptest.Any, application.SweepBulk, 1).Times(2)
		p.Events.EXPECT().TasksReopened(apptest.Any, apptest.Any).Times(2)
		p.Queue.EXPECT().Push(apptest.Any, apptest.Any).Return(domain.ErrUnavailable).Times(2)

		apptest.Must(t, dispatch.NewBulk(deps(p)).Sweep(t.Context()))
	})
}

func TestDispatcher_LooksForBulkActionsEverySecondAndTellsOfAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := apptest.NewPorts(t)
		p.Bulks.EXPECT().Step(apptest.Any, apptest.Any).Return(application.BulkStepResult{}, domain.ErrUnavailable).Times(3)
		p.Events.EXPECT().LoopRan(apptest.Any, application.SweepBulk, domain.ErrUnavailable).Times(3)

		runFor(t, p, 3*time.Second)
	})
}

func TestDispatcher_PassesOverABulkActionThatCannotBeReadAndReportsItOnce(t *testing.T) {
	p, broken, unreadable := apptest.NewPorts(t), domain.BulkID{1}, errors.New("unreadable")
	for range 2 { // sweeps
		gomock.InOrder(
			p.Bulks.EXPECT().Step(apptest.Any, apptest.Any).DoAndReturn(
				func(_ context.Context, s application.BulkStep) (application.BulkStepResult, error) {
					apptest.Same(t, "excepted by the first step", len(s.Except), 0)
					return application.BulkStepResult{Found: true, Passed: map[domain.BulkID]error{broken: unreadable}}, nil
				}),
			p.Bulks.EXPECT().Step(apptest.Any, apptest.Any).DoAndReturn(
				func(_ context.Context, s application.BulkStep) (application.BulkStepResult, error) {
					if !slices.Equal(s.Except, []domain.BulkID{broken}) {
						t.Errorf("the second step excepts %v", s.Except)
					}
					return application.BulkStepResult{}, nil
				}),
		)
	}
	p.Events.EXPECT().BulkUnreadable(apptest.Any, broken, unreadable).Times(1)
	sweep := dispatch.NewBulk(deps(p))
	apptest.Must(t, sweep.Sweep(t.Context()))
	apptest.Must(t, sweep.Sweep(t.Context()))
}
