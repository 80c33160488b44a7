package application_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
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
		p, begun := newPorts(t), now()
		left := slices.Clone(tasks.at)
		p.dispatch.EXPECT().NextDue(anyArg).DoAndReturn(func(context.Context) (time.Time, bool, error) {
			looks++
			all := slices.Sorted(slices.Values(append(slices.Clone(left), tasks.stuck...)))
			if len(all) == 0 {
				return time.Time{}, false, nil
			}
			return begun.Add(all[0]), true, nil
		}).AnyTimes()
		p.dispatch.EXPECT().Due(anyArg, anyArg, anyArg).DoAndReturn(
			func(_ context.Context, until time.Time, _ application.SweepBatch) (application.Swept, error) {
				same(t, "due by", until, now())
				sweeps = append(sweeps, now().Sub(begun))
				left = slices.DeleteFunc(left, func(at time.Duration) bool { return !begun.Add(at).After(until) })
				return application.Swept{}, nil
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

func TestDispatcher_TellsThatADueTaskCouldNotBePushed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, task := newPorts(t), newTask(t)
		p.dispatch.EXPECT().NextDue(anyArg).Return(now(), true, nil)
		p.dispatch.EXPECT().Due(anyArg, anyArg, anyArg).Return(application.Swept{Found: 1, Changed: []*domain.Task{task}}, nil)
		p.events.EXPECT().Swept("due", 1)
		p.queue.EXPECT().Push(anyArg, anyArg).Return(domain.ErrUnavailable)
		p.events.EXPECT().Turn("due", domain.ErrUnavailable)

		runFor(t, p, dueEvery)
	})
}

func TestDispatcher_ForgetsKeysInBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, at := newPorts(t), now().Add(time.Minute)
		var limits []int
		forgotten := []int{1000, 1000, 7}
		p.dispatch.EXPECT().ForgetKeys(anyArg, at, anyArg).DoAndReturn(func(_ context.Context, _ time.Time, limit int) (int, error) {
			limits = append(limits, limit)
			return forgotten[len(limits)-1], nil
		}).Times(3)

		runFor(t, p, time.Minute)

		alike(t, "limits", limits, []int{1000, 1000, 1000})
	})
}

func TestDispatcher_TellsThatKeysCannotBeForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPorts(t)
		p.dispatch.EXPECT().ForgetKeys(anyArg, anyArg, anyArg).Return(1000, nil)
		p.dispatch.EXPECT().ForgetKeys(anyArg, anyArg, anyArg).Return(0, domain.ErrUnavailable)
		p.events.EXPECT().Turn("forget keys", domain.ErrUnavailable)

		runFor(t, p, time.Minute)
	})
}
