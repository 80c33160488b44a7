package dispatch_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/mock/gomock"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/apptest"
)

// dueTasks are the times from the start at which tasks are due, in order; those
// that are stuck are found by every sweep and stay.
type dueTasks struct {
	at, stuck []time.Duration
}

// sweepsOf runs the dispatcher for so long and returns when it swept, and how often
// it looked.
func sweepsOf(t *testing.T, tasks dueTasks, d time.Duration) (sweeps []time.Duration, looks int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p, begun := apptest.NewPorts(t), apptest.Now()
		left := slices.Clone(tasks.at)
		p.Dispatch.EXPECT().NextDue(apptest.Any).DoAndReturn(func(context.Context) (time.Time, bool, error) {
			looks++
			all := slices.Sorted(slices.Values(append(slices.Clone(left), tasks.stuck...)))
			if len(all) == 0 {
				return time.Time{}, false, nil
			}
			return begun.Add(all[0]), true, nil
		}).AnyTimes()
		p.Dispatch.EXPECT().Due(apptest.Any, apptest.Any, apptest.Any).DoAndReturn(
			func(_ context.Context, until time.Time, _ application.SweepBatch) (application.SweepResult, error) {
				apptest.Same(t, "due by", until, apptest.Now())
				sweeps = append(sweeps, apptest.Now().Sub(begun))
				left = slices.DeleteFunc(left, func(at time.Duration) bool { return !begun.Add(at).After(until) })
				return application.SweepResult{}, nil
			}).AnyTimes()
		runFor(t, p, d)
	})
	return sweeps, looks
}

func TestDispatcher_SweepsAsSoonAsSomethingIsDue(t *testing.T) {
	const ms = time.Millisecond
	for name, c := range map[string]struct {
		tasks dueTasks
		want  []time.Duration
		looks int // at most
	}{
		"Nothing":          {dueTasks{}, nil, 20},
		"Overdue":          {dueTasks{at: []time.Duration{-time.Hour}}, []time.Duration{500 * ms}, 21},
		"ToTheMicrosecond": {dueTasks{at: []time.Duration{730*ms + 1000}}, []time.Duration{730*ms + 1000}, 22},
		"ALongTimeAhead":   {dueTasks{at: []time.Duration{9876543 * time.Microsecond}}, []time.Duration{9876543 * time.Microsecond}, 22},
		"OneAfterTheOther": {dueTasks{at: []time.Duration{730 * ms, 900 * ms, 2 * time.Second}}, []time.Duration{730 * ms, 900 * ms, 2 * time.Second}, 30},
		"CloseTogether":    {dueTasks{at: []time.Duration{730 * ms, 731 * ms, 800 * ms}}, []time.Duration{730 * ms, 830 * ms}, 26},
		"OneThatIsStuck": { // it must not keep the loop busy
			dueTasks{at: []time.Duration{730 * ms}, stuck: []time.Duration{0}},
			steps(500*ms, 500*ms, 20), 41,
		},
	} {
		t.Run(name, func(t *testing.T) {
			sweeps, looks := sweepsOf(t, c.tasks, 10*time.Second)
			if !slices.Equal(sweeps, c.want) {
				t.Errorf("swept at %v, want %v", sweeps, c.want)
			}
			if looks > c.looks {
				t.Errorf("looked %d times in 10 s, want at most %d", looks, c.looks)
			}
		})
	}
}

// steps are n times from the first on.
func steps(first, step time.Duration, n int) (all []time.Duration) {
	for i := range n {
		all = append(all, first+time.Duration(i)*step)
	}
	return all
}

// Tasks that are due one by one, a thousand in a second, cost ten sweeps.
func TestDispatcher_SweepsManyTogetherThatAreDueOneByOne(t *testing.T) {
	sweeps, looks := sweepsOf(t, dueTasks{at: steps(time.Second, time.Millisecond, 1000)}, 3*time.Second)
	if len(sweeps) > 11 || looks > 40 {
		t.Errorf("%d sweeps and %d looks", len(sweeps), looks)
	}
	if last := sweeps[len(sweeps)-1]; last > 2*time.Second+99*time.Millisecond {
		t.Errorf("the last is swept at %s", last)
	}
}

func TestDispatcher_AFailedPushIsNoFailureOfItsSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, task := apptest.NewPorts(t), apptest.NewTask(t)
		p.Dispatch.EXPECT().NextDue(apptest.Any).Return(apptest.Now(), true, nil)
		p.Dispatch.EXPECT().Due(apptest.Any, apptest.Any, apptest.Any).Return(application.SweepResult{Found: 1, Changed: []*domain.Task{task}}, nil)
		p.Events.EXPECT().Swept(apptest.Any, application.SweepDue, 1)
		p.Queue.EXPECT().Push(apptest.Any, apptest.Any).Return(domain.ErrUnavailable)
		p.Dispatch.EXPECT().NextDue(apptest.Any).Return(time.Time{}, false, nil)

		runFor(t, p, dueEvery)
	})
}

func TestDispatcher_ForgetsKeysInBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, at := apptest.NewPorts(t), apptest.Now().Add(time.Minute)
		var limits []int
		forgotten := []int{1000, 1000, 7}
		p.Dispatch.EXPECT().ForgetKeys(apptest.Any, at, apptest.Any).DoAndReturn(func(_ context.Context, _ time.Time, limit int) (int, error) {
			limits = append(limits, limit)
			return forgotten[len(limits)-1], nil
		}).Times(3)
		p.Events.EXPECT().Swept(apptest.Any, application.SweepKeys, 1000).Times(2)
		p.Events.EXPECT().Swept(apptest.Any, application.SweepKeys, 7)

		runFor(t, p, time.Minute)

		apptest.Equal(t, "limits", limits, []int{1000, 1000, 1000})
	})
}

func TestDispatcher_TellsThatKeysCannotBeForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := apptest.NewPorts(t)
		p.Dispatch.EXPECT().ForgetKeys(apptest.Any, apptest.Any, apptest.Any).Return(1000, nil)
		p.Dispatch.EXPECT().ForgetKeys(apptest.Any, apptest.Any, apptest.Any).Return(0, domain.ErrUnavailable)
		p.Events.EXPECT().Swept(apptest.Any, application.SweepKeys, 1000)
		p.Events.EXPECT().LoopRan(apptest.Any, application.SweepKeys, domain.ErrUnavailable)

		runFor(t, p, time.Minute)
	})
}

// A sweep that runs once a minute must not leave a worker unready for a minute after an
// outage: its failure counts until it has run again.
func TestDispatcher_RepeatsARareSweepSoonAfterAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, begun := apptest.NewPorts(t), time.Now()
		var at []time.Duration
		results := []error{domain.ErrUnavailable, domain.ErrUnavailable, nil, nil}
		p.Dispatch.EXPECT().ForgetKeys(apptest.Any, apptest.Any, apptest.Any).DoAndReturn(func(context.Context, time.Time, int) (int, error) {
			at = append(at, time.Since(begun))
			return 0, results[len(at)-1]
		}).Times(4)
		p.Events.EXPECT().LoopRan(apptest.Any, application.SweepKeys, domain.ErrUnavailable).Times(2)

		runFor(t, p, 130*time.Second)

		apptest.Equal(t, "sweeps at", at, []time.Duration{60 * time.Second, 65 * time.Second, 70 * time.Second, 130 * time.Second})
	})
}

func TestDispatcher_TellsHowLateItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, begun := apptest.NewPorts(t), apptest.Now()
		var lags apptest.Record[time.Duration]
		p.Events.EXPECT().DispatchLag(apptest.Any, apptest.Any).Do(func(_ context.Context, lag time.Duration) { lags.Add(lag) }).AnyTimes()
		gomock.InOrder(
			p.Dispatch.EXPECT().NextDue(apptest.Any).Return(time.Time{}, false, nil),                        // nothing waits
			p.Dispatch.EXPECT().NextDue(apptest.Any).Return(begun.Add(time.Hour), true, nil),                // nothing is due
			p.Dispatch.EXPECT().NextDue(apptest.Any).Return(time.Time{}, false, domain.ErrUnavailable),      // not known
			p.Dispatch.EXPECT().NextDue(apptest.Any).Return(begun.Add(4*dueEvery-3*time.Second), true, nil), // three seconds late
			p.Dispatch.EXPECT().NextDue(apptest.Any).Return(time.Time{}, false, nil),                        // after the sweep
		)
		p.Dispatch.EXPECT().Due(apptest.Any, apptest.Any, apptest.Any)
		p.Events.EXPECT().LoopRan(apptest.Any, application.SweepDue, domain.ErrUnavailable)

		runFor(t, p, 4*dueEvery)

		apptest.Equal(t, "lags", lags.List(), []time.Duration{0, 0, 3 * time.Second})
	})
}
