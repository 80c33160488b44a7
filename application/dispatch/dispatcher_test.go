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
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/apptest"
)

// The pace and the bounds of the sweeps.
const (
	dueEvery      = application.DueInterval
	strandedEvery = application.StrandedInterval
	strandedGrace = domain.StrandedGrace
	orphanedEvery = dispatch.OrphanedInterval
	sweepLimit    = dispatch.SweepLimit
)

func deps(p *apptest.Ports) dispatch.Deps {
	return dispatch.Deps{
		Tasks: p.Dispatch, Workers: p.Workers, Bulks: p.Bulks, Purges: p.Purges, Queues: p.Queues, Statistics: p.Statistics,
		Queue: p.Queue, Signals: p.Signals, Clock: p.Clock, Events: p.Events,
	}
}

func newDispatcher(p *apptest.Ports) *dispatch.Dispatcher {
	return newDispatcherOf(p, 30*time.Second)
}

func newDispatcherOf(p *apptest.Ports, lease time.Duration) *dispatch.Dispatcher {
	return dispatch.New(deps(p), dispatch.Config{
		Observer: application.Observer{Worker: "w", Interval: lease / domain.BeatsPerLease, Lease: lease}, Retry: apptest.RetryPolicy,
	})
}

// runFor runs the dispatcher for so long, and all that happens by then. Sweeps
// of which the test says nothing find nothing.
func runFor(t *testing.T, p *apptest.Ports, d time.Duration) {
	t.Helper()
	run(t, p, newDispatcher(p), d)
}

func run(t *testing.T, p *apptest.Ports, dispatcher *dispatch.Dispatcher, d time.Duration) {
	t.Helper()
	p.Dispatch.EXPECT().NextDue(apptest.Any).AnyTimes()
	p.Dispatch.EXPECT().Orphaned(apptest.Any, apptest.Any, apptest.Any).AnyTimes()
	p.Dispatch.EXPECT().QueuedBefore(apptest.Any, apptest.Any).AnyTimes()
	p.Dispatch.EXPECT().AcquireSweep(apptest.Any, application.SweepStranded, domain.WorkerID("w"), apptest.Any).Return(true, nil).AnyTimes()
	p.Dispatch.EXPECT().ReleaseSweep(apptest.Any, application.SweepStranded, domain.WorkerID("w")).AnyTimes()
	p.Dispatch.EXPECT().AcquireSweep(apptest.Any, application.SweepPurge, domain.WorkerID("w"), apptest.Any).Return(false, nil).AnyTimes()
	p.Dispatch.EXPECT().ForgetKeys(apptest.Any, apptest.Any, apptest.Any).AnyTimes()
	p.Bulks.EXPECT().Step(apptest.Any, apptest.Any).AnyTimes()
	p.Workers.EXPECT().Forget(apptest.Any, apptest.Any).AnyTimes()
	p.Statistics.EXPECT().Forget(apptest.Any, apptest.Any, apptest.Any).AnyTimes()
	p.Events.EXPECT().LoopRan(apptest.Any, apptest.Any, nil).AnyTimes()
	p.Events.EXPECT().DispatchLag(apptest.Any, apptest.Any).AnyTimes()
	ctx, stop := context.WithTimeout(t.Context(), d+time.Microsecond)
	defer stop()
	dispatcher.Run(ctx)
}

// released makes a task that is due and not marked as queued.
func released(t *testing.T) *domain.Task {
	t.Helper()
	return apptest.Changed(t, apptest.Claimed(t), func(task *domain.Task) error { return task.Release(1, apptest.Now()) })
}

// deciding is a step that finds the tasks and decides on each.
func deciding(t *testing.T, b application.SweepBatch, tasks ...*domain.Task) application.SweepResult {
	t.Helper()
	for _, task := range tasks {
		apptest.Must(t, b.Decide(task))
	}
	return application.SweepResult{Found: len(tasks), Changed: tasks}
}

func entriesOf(tasks ...*domain.Task) []any {
	entries := make([]any, len(tasks))
	for i, task := range tasks {
		entries[i] = application.EntryOf(task)
	}
	return entries
}

func TestDispatcher_PushesWhatIsDueOnceItsMarkIsStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, task := apptest.NewPorts(t), released(t)
		time.Sleep(time.Minute)
		gomock.InOrder(
			p.Dispatch.EXPECT().Due(apptest.Any, apptest.Now(), apptest.Any).DoAndReturn(
				func(_ context.Context, _ time.Time, b application.SweepBatch) (application.SweepResult, error) {
					apptest.Same(t, "limit", b.Limit, sweepLimit)
					return deciding(t, b, task), nil
				}),
			p.Events.EXPECT().Swept(apptest.Any, application.SweepDue, 1),
			p.Queue.EXPECT().Push(apptest.Any, apptest.Entry(task.ID(), apptest.Now())).Return(nil),
		)

		apptest.Must(t, dispatch.NewDue(deps(p)).Sweep(t.Context()))
	})
}

func TestDispatcher_PushesNothingWhenTheMarksCannotBeStored(t *testing.T) {
	p := apptest.NewPorts(t)
	p.Dispatch.EXPECT().Due(apptest.Any, apptest.Any, apptest.Any).Return(application.SweepResult{}, domain.ErrUnavailable)

	apptest.WantError(t, dispatch.NewDue(deps(p)).Sweep(t.Context()), domain.ErrUnavailable)
}

func TestDispatcher_EndsASweepThatCannotPush(t *testing.T) {
	p, task := apptest.NewPorts(t), apptest.NewTask(t)
	p.Dispatch.EXPECT().Due(apptest.Any, apptest.Any, apptest.Any).Return(application.SweepResult{Found: sweepLimit, Changed: []*domain.Task{task}}, nil)
	p.Events.EXPECT().Swept(apptest.Any, application.SweepDue, 1)
	p.Queue.EXPECT().Push(apptest.Any, apptest.Any).Return(domain.ErrUnavailable)

	apptest.Must(t, dispatch.NewDue(deps(p)).Sweep(t.Context()))
}

func TestDispatcher_TellsWhatBecameOfEachTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := apptest.NewPorts(t)
		p.Dispatch.EXPECT().NextDue(apptest.Any).Return(time.Time{}, false, domain.ErrUnavailable).Times(2)
		gomock.InOrder(
			p.Events.EXPECT().LoopRan(apptest.Any, application.SweepDue, domain.ErrUnavailable).Times(2),
			p.Events.EXPECT().LoopRan(apptest.Any, application.SweepDue, nil),
		)

		runFor(t, p, 3*dueEvery)
	})
}

func TestDispatcher_GoesOnUntilFewerThanTheLimitAreFound(t *testing.T) {
	p, tasks := apptest.NewPorts(t), apptest.NewTasks(t, 3)
	var steps []any
	for i, found := range []int{sweepLimit, sweepLimit, sweepLimit - 1} {
		steps = append(steps,
			p.Dispatch.EXPECT().Due(apptest.Any, apptest.Any, apptest.Any).Return(application.SweepResult{Found: found, Changed: tasks[i : i+1]}, nil),
			p.Events.EXPECT().Swept(apptest.Any, application.SweepDue, 1),
			p.Queue.EXPECT().Push(apptest.Any, entriesOf(tasks[i])...).Return(nil),
		)
	}
	gomock.InOrder(steps...)

	apptest.Must(t, dispatch.NewDue(deps(p)).Sweep(t.Context()))
}

func TestDispatcher_PassesOverWhatCannotBeHandledAndTellsOfIt(t *testing.T) {
	p, bad, worse := apptest.NewPorts(t), apptest.NewTask(t).ID(), apptest.NewTask(t).ID()
	var excepted [][]domain.TaskID
	passed := []application.SweepResult{
		{Found: sweepLimit, Passed: map[domain.TaskID]error{bad: apptest.ErrBroken}},
		{Found: sweepLimit, Passed: map[domain.TaskID]error{worse: apptest.ErrBroken}},
		{},
	}
	p.Dispatch.EXPECT().Due(apptest.Any, apptest.Any, apptest.Any).DoAndReturn(
		func(_ context.Context, _ time.Time, b application.SweepBatch) (application.SweepResult, error) {
			excepted = append(excepted, slices.Clone(b.Except))
			return passed[len(excepted)-1], nil
		}).Times(3)
	p.Events.EXPECT().TaskPassed(apptest.Any, application.SweepDue, bad, apptest.ErrBroken)
	p.Events.EXPECT().TaskPassed(apptest.Any, application.SweepDue, worse, apptest.ErrBroken)

	apptest.Must(t, dispatch.NewDue(deps(p)).Sweep(t.Context()))

	if want := [][]domain.TaskID{nil, {bad}, {bad, worse}}; !slices.EqualFunc(excepted, want, slices.Equal) {
		t.Errorf("excepted %v, want %v", excepted, want)
	}
}

func TestDispatcher_RefillPushesAllThatIsMarkedHoweverLately(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, tasks, now := apptest.NewPorts(t), apptest.NewTasks(t, 2), apptest.Now()
		before, urgent := now.Add(time.Microsecond), application.Lane{Queue: "mail", Priority: 9}
		all := map[application.Lane]time.Time{urgent: now, apptest.DefaultLane: now}
		p.Dispatch.EXPECT().QueuedBefore(apptest.Any, before).Return(all, nil)
		bounds := map[application.Lane]time.Time{urgent: before, apptest.DefaultLane: before}
		p.Dispatch.EXPECT().Stranded(apptest.Any, bounds, apptest.Any).Return(application.SweepResult{Found: 2, Changed: tasks}, nil)
		p.Queue.EXPECT().Push(apptest.Any, entriesOf(tasks...)...).Return(nil)
		p.Events.EXPECT().Swept(apptest.Any, application.SweepStranded, 2)

		apptest.Must(t, newDispatcher(p).Refill(t.Context()))
	})
}

func TestDispatcher_RescuesWhatIsOrphanedAndPushesNothingYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, task := apptest.NewPorts(t), apptest.Claimed(t)
		judge := application.Observer{Worker: "w", Interval: 3 * time.Second, Lease: 30 * time.Second}
		p.Dispatch.EXPECT().Orphaned(apptest.Any, judge, apptest.Any).DoAndReturn(
			func(_ context.Context, _ application.Observer, b application.SweepBatch) (application.SweepResult, error) {
				return deciding(t, b, task), nil
			})
		p.Events.EXPECT().Swept(apptest.Any, application.SweepOrphaned, 1)
		p.Events.EXPECT().AttemptEnded(apptest.Any, task, application.AttemptEnd{Outcome: domain.OutcomeLost})

		runFor(t, p, orphanedEvery)

		apptest.Same(t, "status", task.Status(), domain.StatusPending)
		apptest.Same(t, "rescues", task.State().Rescues, 1)
	})
}

func TestDispatcher_EndsWithItsContextAndTellsNothingOfIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := apptest.NewPorts(t)
		p.Dispatch.EXPECT().NextDue(apptest.Any).DoAndReturn(func(ctx context.Context) (time.Time, bool, error) {
			return time.Time{}, false, apptest.UntilEnded(ctx)
		})

		runFor(t, p, time.Second) // runFor expects no failed turn
	})
}

func TestDispatcher_ForgetsWorkersThatDiedLongAgo(t *testing.T) {
	for name, c := range map[string]struct{ lease, silentFor time.Duration }{
		"AfterAnHour":    {30 * time.Second, time.Hour},
		"AfterTenLeases": {time.Hour, 10 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := apptest.NewPorts(t)
				gomock.InOrder(
					p.Workers.EXPECT().Forget(apptest.Any, c.silentFor).Return(2, nil),
					p.Workers.EXPECT().Forget(apptest.Any, c.silentFor).Return(0, domain.ErrUnavailable),
				)
				p.Events.EXPECT().Swept(apptest.Any, application.SweepWorkers, 2)
				p.Events.EXPECT().LoopRan(apptest.Any, application.SweepWorkers, domain.ErrUnavailable)

				run(t, p, newDispatcherOf(p, c.lease), 2*time.Minute)
			})
		})
	}
}
