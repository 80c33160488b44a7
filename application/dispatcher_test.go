package application_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/mock/gomock"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// The pace and the bounds of the sweeps.
const (
	dueEvery       = 500 * time.Millisecond
	strandedEvery  = 3 * time.Second
	strandedGrace  = 5 * time.Second
	abandonedEvery = 4 * time.Second
	sweepLimit     = 500
)

func newDispatcher(p *ports) *application.Dispatcher { return newDispatcherOf(p, 30*time.Second) }

func newDispatcherOf(p *ports, lease time.Duration) *application.Dispatcher {
	cfg := application.WorkerConfig{Lease: lease, Retry: retryPolicy}
	return application.NewDispatcher(application.WorkerInfo{ID: "w"}, cfg, p.dispatch, p.workers,
		p.bulks, p.queue, p.signals, p.clock, p.events)
}

// runFor runs the dispatcher for so long, and all that happens by then. Sweeps
// of which the test says nothing find nothing.
func runFor(t *testing.T, p *ports, d time.Duration) {
	t.Helper()
	run(t, p, newDispatcher(p), d)
}

func run(t *testing.T, p *ports, dispatcher *application.Dispatcher, d time.Duration) {
	t.Helper()
	p.dispatch.EXPECT().NextDue(anyArg).AnyTimes()
	p.dispatch.EXPECT().Abandoned(anyArg, anyArg, anyArg).AnyTimes()
	p.dispatch.EXPECT().QueuedBefore(anyArg, anyArg).AnyTimes()
	p.dispatch.EXPECT().ForgetKeys(anyArg, anyArg, anyArg).AnyTimes()
	p.bulks.EXPECT().Step(anyArg, anyArg).AnyTimes()
	p.workers.EXPECT().Forget(anyArg, anyArg).AnyTimes()
	p.events.EXPECT().Turn(anyArg, nil).AnyTimes()
	ctx, stop := context.WithTimeout(t.Context(), d+time.Microsecond)
	defer stop()
	dispatcher.Run(ctx)
}

// released makes a task that is due and not marked as queued.
func released(t *testing.T) *domain.Task {
	t.Helper()
	return changed(t, taken(t), func(task *domain.Task) error { return task.Release(1, now()) })
}

// deciding is a step that finds the tasks and decides on each.
func deciding(t *testing.T, b application.SweepBatch, tasks ...*domain.Task) application.Swept {
	t.Helper()
	for _, task := range tasks {
		must(t, b.Decide(task))
	}
	return application.Swept{Found: len(tasks), Changed: tasks}
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
		p, task := newPorts(t), released(t)
		time.Sleep(time.Minute)
		gomock.InOrder(
			p.dispatch.EXPECT().Due(anyArg, now(), anyArg).DoAndReturn(
				func(_ context.Context, _ time.Time, b application.SweepBatch) (application.Swept, error) {
					same(t, "limit", b.Limit, sweepLimit)
					return deciding(t, b, task), nil
				}),
			p.events.EXPECT().Swept("due", 1),
			p.queue.EXPECT().Push(anyArg, entry(task.ID(), now())).Return(nil),
		)

		must(t, newDispatcher(p).Due(t.Context()))
	})
}

func TestDispatcher_PushesNothingWhenTheMarksCannotBeStored(t *testing.T) {
	p := newPorts(t)
	p.dispatch.EXPECT().Due(anyArg, anyArg, anyArg).Return(application.Swept{}, domain.ErrUnavailable)

	wantError(t, newDispatcher(p).Due(t.Context()), domain.ErrUnavailable)
}

func TestDispatcher_ReturnsThatItCouldNotPush(t *testing.T) {
	p, task := newPorts(t), newTask(t)
	p.dispatch.EXPECT().Due(anyArg, anyArg, anyArg).Return(application.Swept{Found: sweepLimit, Changed: []*domain.Task{task}}, nil)
	p.events.EXPECT().Swept("due", 1)
	p.queue.EXPECT().Push(anyArg, anyArg).Return(domain.ErrUnavailable)

	wantError(t, newDispatcher(p).Due(t.Context()), domain.ErrUnavailable)
}

func TestDispatcher_TellsWhatBecameOfEachTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPorts(t)
		p.dispatch.EXPECT().NextDue(anyArg).Return(time.Time{}, false, domain.ErrUnavailable).Times(2)
		gomock.InOrder(
			p.events.EXPECT().Turn("due", domain.ErrUnavailable).Times(2),
			p.events.EXPECT().Turn("due", nil),
		)

		runFor(t, p, 3*dueEvery)
	})
}

func TestDispatcher_GoesOnUntilFewerThanTheLimitAreFound(t *testing.T) {
	p, tasks := newPorts(t), tasksOf(t, 3)
	var steps []any
	for i, found := range []int{sweepLimit, sweepLimit, sweepLimit - 1} {
		steps = append(steps,
			p.dispatch.EXPECT().Due(anyArg, anyArg, anyArg).Return(application.Swept{Found: found, Changed: tasks[i : i+1]}, nil),
			p.events.EXPECT().Swept("due", 1),
			p.queue.EXPECT().Push(anyArg, entriesOf(tasks[i])...).Return(nil),
		)
	}
	gomock.InOrder(steps...)

	must(t, newDispatcher(p).Due(t.Context()))
}

func TestDispatcher_PassesOverWhatCannotBeHandledAndTellsOfIt(t *testing.T) {
	p, bad, worse := newPorts(t), newTask(t).ID(), newTask(t).ID()
	var excepted [][]domain.TaskID
	passed := []application.Swept{
		{Found: sweepLimit, Passed: map[domain.TaskID]error{bad: errBroken}},
		{Found: sweepLimit, Passed: map[domain.TaskID]error{worse: errBroken}},
		{},
	}
	p.dispatch.EXPECT().Due(anyArg, anyArg, anyArg).DoAndReturn(
		func(_ context.Context, _ time.Time, b application.SweepBatch) (application.Swept, error) {
			excepted = append(excepted, slices.Clone(b.Except))
			return passed[len(excepted)-1], nil
		}).Times(3)
	p.events.EXPECT().TaskPassed("due", bad, errBroken)
	p.events.EXPECT().TaskPassed("due", worse, errBroken)

	must(t, newDispatcher(p).Due(t.Context()))

	if want := [][]domain.TaskID{nil, {bad}, {bad, worse}}; !slices.EqualFunc(excepted, want, slices.Equal) {
		t.Errorf("excepted %v, want %v", excepted, want)
	}
}

func TestDispatcher_RefillPushesAllThatIsMarkedHoweverLately(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, tasks, now := newPorts(t), tasksOf(t, 2), now()
		before, urgent := now.Add(time.Microsecond), application.List{Queue: "mail", Priority: 9}
		p.dispatch.EXPECT().QueuedBefore(anyArg, before).Return([]application.List{urgent, defaultList}, nil)
		for i, l := range []application.List{urgent, defaultList} {
			p.dispatch.EXPECT().Stranded(anyArg, l, before, anyArg).Return(application.Swept{Found: 1, Changed: tasks[i : i+1]}, nil)
			p.queue.EXPECT().Push(anyArg, entriesOf(tasks[i])...).Return(nil)
		}
		p.events.EXPECT().Swept("stranded", 1).Times(2)

		must(t, newDispatcher(p).Refill(t.Context()))
	})
}

func TestDispatcher_RescuesWhatIsAbandonedAndPushesNothingYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, task := newPorts(t), taken(t)
		judge := application.Judge{Worker: "w", Interval: 3 * time.Second, Lease: 30 * time.Second}
		p.dispatch.EXPECT().Abandoned(anyArg, judge, anyArg).DoAndReturn(
			func(_ context.Context, _ application.Judge, b application.SweepBatch) (application.Swept, error) {
				return deciding(t, b, task), nil
			})
		p.events.EXPECT().Swept("abandoned", 1)

		runFor(t, p, abandonedEvery)

		same(t, "status", task.Status(), domain.StatusPending)
		same(t, "rescues", task.State().Rescues, 1)
	})
}

func TestDispatcher_EndsWithItsContextAndTellsNothingOfIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPorts(t)
		p.dispatch.EXPECT().NextDue(anyArg).DoAndReturn(func(ctx context.Context) (time.Time, bool, error) {
			return time.Time{}, false, untilEnded(ctx)
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
				p := newPorts(t)
				gomock.InOrder(
					p.workers.EXPECT().Forget(anyArg, c.silentFor).Return(2, nil),
					p.workers.EXPECT().Forget(anyArg, c.silentFor).Return(0, domain.ErrUnavailable),
				)
				p.events.EXPECT().Turn("forget", domain.ErrUnavailable)

				run(t, p, newDispatcherOf(p, c.lease), 2*time.Minute)
			})
		})
	}
}
