package dispatch_test

import (
	"cmp"
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

// sight is what a sweep for stranded tasks finds in a list before it decides.
type sight struct {
	candidates bool
	oldest     time.Duration // age of the oldest entry on the list; 0: it is empty
	err        error         // of the queue
	mark       time.Duration // age of the oldest mark; 0: an hour
}

func (s sight) markAge() time.Duration { return cmp.Or(s.mark, time.Hour) }

// sweepsFor lets the dispatcher see one sight after the other, and returns the
// age of what each sweep took as stranded; 0: it took nothing.
func sweepsFor(t *testing.T, sights ...sight) []time.Duration {
	t.Helper()
	return listSweepsFor(t, map[application.Lane][]sight{apptest.DefaultLane: sights})[apptest.DefaultLane]
}

// listSweepsFor does so for several lists; each has as many sights.
func listSweepsFor(t *testing.T, sights map[application.Lane][]sight) map[application.Lane][]time.Duration {
	t.Helper()
	bounds, sweeps := map[application.Lane][]time.Duration{}, 0
	for l, s := range sights {
		bounds[l], sweeps = make([]time.Duration, len(s)), len(s)
	}
	synctest.Test(t, func(t *testing.T) {
		p, turn := apptest.NewPorts(t), -1
		p.Dispatch.EXPECT().QueuedBefore(apptest.Any, apptest.Any).DoAndReturn(func(_ context.Context, before time.Time) (map[application.Lane]time.Time, error) {
			turn++
			apptest.Same(t, "age of a candidate", apptest.Now().Sub(before), strandedGrace)
			lists := map[application.Lane]time.Time{}
			for l, s := range sights {
				if s[turn].candidates {
					lists[l] = apptest.Now().Add(-s[turn].markAge())
				}
			}
			return lists, nil
		}).Times(sweeps)
		p.Queue.EXPECT().Oldest(apptest.Any, apptest.Any).DoAndReturn(
			func(_ context.Context, lists ...application.Lane) (map[application.Lane]time.Time, error) {
				oldest := map[application.Lane]time.Time{}
				for _, l := range lists {
					s := sights[l][turn]
					if !s.candidates {
						t.Errorf("the queue is asked of %v although there are no candidates", l)
					}
					if s.err != nil {
						return nil, s.err
					}
					if s.oldest != 0 {
						oldest[l] = apptest.Now().Add(-s.oldest)
					}
				}
				return oldest, nil
			}).AnyTimes()
		p.Dispatch.EXPECT().Stranded(apptest.Any, apptest.Any, apptest.Any).DoAndReturn(
			func(_ context.Context, before map[application.Lane]time.Time, _ application.SweepBatch) (application.SweepResult, error) {
				for l, bound := range before {
					bounds[l][turn] = apptest.Now().Sub(bound)
				}
				return application.SweepResult{}, nil
			}).AnyTimes()
		p.Events.EXPECT().LoopRan(apptest.Any, application.SweepStranded, domain.ErrUnavailable).AnyTimes()
		runFor(t, p, time.Duration(sweeps)*strandedEvery)
	})
	return bounds
}

func TestDispatcher_TakesAsStrandedWhatTwoSweepsRunningHaveFound(t *testing.T) {
	lost, nothing := sight{candidates: true}, sight{}
	away := sight{candidates: true, err: domain.ErrUnavailable}
	// What the sweep before took for stranded has grown older by the time between them.
	const twice = strandedGrace + strandedEvery
	for name, c := range map[string]struct {
		sights []sight
		want   []time.Duration
	}{
		"NotAtFirstSight":       {[]sight{lost}, []time.Duration{0}},
		"AtTheSecond":           {[]sight{lost, lost, lost}, []time.Duration{0, twice, twice}},
		"WithoutCandidates":     {[]sight{nothing, nothing}, []time.Duration{0, 0}},
		"ForgottenByOneWithout": {[]sight{lost, nothing, lost, lost}, []time.Duration{0, 0, 0, twice}},
		"ForgottenWhenAway":     {[]sight{lost, away, lost, lost}, []time.Duration{0, 0, 0, twice}},
		"OlderThanTheOldest": {
			[]sight{{true, time.Minute, nil, 0}, {true, time.Minute, nil, 0}},
			[]time.Duration{0, time.Minute + twice},
		},
		"BoundOfTheSecond": { // a deep queue is seen the second time only
			[]sight{lost, {true, time.Minute, nil, 0}},
			[]time.Duration{0, time.Minute + strandedGrace},
		},
		"BoundOfTheFirst": { // the queue was drained in between
			[]sight{{true, time.Minute, nil, 0}, lost},
			[]time.Duration{0, time.Minute + twice},
		},
		"MarkedByAClockThatIsAhead": {
			[]sight{{true, -time.Second, nil, 0}, {true, -time.Second, nil, 0}},
			[]time.Duration{0, twice},
		},
		"NothingIsMissing": { // the head is the oldest mark, or near it
			[]sight{{true, time.Minute, nil, time.Minute}, {true, time.Minute, nil, time.Minute + strandedGrace}},
			[]time.Duration{0, 0},
		},
		"NotMissingAtFirst": {
			[]sight{{true, time.Minute, nil, time.Minute}, lost, lost},
			[]time.Duration{0, 0, twice},
		},
		"YoungEntries": { // younger than a candidate may be
			[]sight{{true, time.Second, nil, 0}, {true, time.Second, nil, 0}},
			[]time.Duration{0, time.Second + twice},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := sweepsFor(t, c.sights...); !slices.Equal(got, c.want) {
				t.Errorf("took as stranded what is older than %v, want %v", got, c.want)
			}
		})
	}
}

func TestDispatcher_MarksAndPushesWhatIsStranded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, task := apptest.NewPorts(t), apptest.NewTask(t)
		p.Dispatch.EXPECT().QueuedBefore(apptest.Any, apptest.Any).Return(map[application.Lane]time.Time{apptest.DefaultLane: {}}, nil).Times(2)
		p.Queue.EXPECT().Oldest(apptest.Any, apptest.DefaultLane).Return(nil, nil).Times(2)
		p.Dispatch.EXPECT().Stranded(apptest.Any, apptest.Any, apptest.Any).DoAndReturn(
			func(_ context.Context, _ map[application.Lane]time.Time, b application.SweepBatch) (application.SweepResult, error) {
				return deciding(t, b, task), nil
			})
		p.Events.EXPECT().Swept(apptest.Any, application.SweepStranded, 1)
		p.Queue.EXPECT().Push(apptest.Any, apptest.Entry(task.ID(), apptest.Now().Add(2*strandedEvery))).Return(nil)

		runFor(t, p, 2*strandedEvery)

		apptest.Same(t, "version", task.Version(), 1)
	})
}

func TestDispatcher_TellsThatTheQueueCannotBeAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := apptest.NewPorts(t)
		p.Dispatch.EXPECT().QueuedBefore(apptest.Any, apptest.Any).Return(map[application.Lane]time.Time{apptest.DefaultLane: {}}, nil)
		p.Queue.EXPECT().Oldest(apptest.Any, apptest.DefaultLane).Return(nil, domain.ErrUnavailable)
		p.Events.EXPECT().LoopRan(apptest.Any, application.SweepStranded, domain.ErrUnavailable)

		runFor(t, p, strandedEvery)
	})
}

// Each list is first in, first out, and no other: what was lost from one is found
// whatever the others have.
func TestDispatcher_JudgesEachListByItsOwnEntries(t *testing.T) {
	const twice = strandedGrace + strandedEvery
	lost, deep := sight{candidates: true}, sight{candidates: true, oldest: time.Minute}
	urgent := application.Lane{Queue: domain.DefaultQueue, Priority: 9}
	mail := application.Lane{Queue: "mail"}

	got := listSweepsFor(t, map[application.Lane][]sight{
		apptest.DefaultLane: {lost, lost, lost},
		urgent:              {deep, deep, deep},
		mail:                {{}, lost, lost}, // found by the second sweep first
	})

	apptest.Equal(t, "took as stranded what is older than", got, map[application.Lane][]time.Duration{
		apptest.DefaultLane: {0, twice, twice},
		urgent:              {0, time.Minute + twice, time.Minute + twice},
		mail:                {0, 0, twice},
	})
}

func TestDispatcher_RefillTellsThatTheStoreIsAway(t *testing.T) {
	for name, expect := range map[string]func(*apptest.Ports){
		"TheLists": func(p *apptest.Ports) {
			p.Dispatch.EXPECT().QueuedBefore(apptest.Any, apptest.Any).Return(nil, domain.ErrUnavailable)
		},
		"OneOfThem": func(p *apptest.Ports) {
			p.Dispatch.EXPECT().QueuedBefore(apptest.Any, apptest.Any).Return(map[application.Lane]time.Time{apptest.DefaultLane: {}, {Queue: "mail"}: {}}, nil)
			p.Dispatch.EXPECT().Stranded(apptest.Any, apptest.Any, apptest.Any).Return(application.SweepResult{}, domain.ErrUnavailable)
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := apptest.NewPorts(t)
			expect(p)
			apptest.WantError(t, newDispatcher(p).Refill(t.Context()), domain.ErrUnavailable)
		})
	}
}

func TestDispatcher_OneWorkerSweepsForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := apptest.NewPorts(t)
		sweep := dispatch.NewStranded(deps(p), "w")
		turn := func() *gomock.Call {
			return p.Dispatch.EXPECT().AcquireSweep(apptest.Any, application.SweepStranded, domain.WorkerID("w"), apptest.Any).Call
		}
		gomock.InOrder(turn().Return(false, nil), turn().Return(true, nil), turn().Return(false, domain.ErrUnavailable))
		p.Dispatch.EXPECT().QueuedBefore(apptest.Any, apptest.Any).Return(nil, nil) // once, in its turn
		p.Dispatch.EXPECT().ReleaseSweep(apptest.Any, application.SweepStranded, domain.WorkerID("w"))

		apptest.Must(t, sweep.Sweep(t.Context()))
		apptest.Must(t, sweep.Sweep(t.Context()))
		apptest.WantError(t, sweep.Sweep(t.Context()), domain.ErrUnavailable)
	})
}

// While another worker sweeps, the result of a sweep that did nothing must not say that
// what has failed here works again.
func TestDispatcher_AFailedSweepIsOverWhenALookSucceeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := apptest.NewPorts(t)
		sweep := dispatch.NewStranded(deps(p), "w")
		for _, mine := range []bool{true, false, false, false} {
			p.Dispatch.EXPECT().AcquireSweep(apptest.Any, application.SweepStranded, domain.WorkerID("w"), apptest.Any).Return(mine, nil)
		}
		p.Dispatch.EXPECT().ReleaseSweep(apptest.Any, application.SweepStranded, domain.WorkerID("w")).Times(2)
		candidates := map[application.Lane]time.Time{apptest.DefaultLane: {}}
		p.Dispatch.EXPECT().QueuedBefore(apptest.Any, apptest.Any).Return(candidates, nil).Times(3)
		look := p.Queue.EXPECT().Oldest(apptest.Any, apptest.DefaultLane)
		look.Return(nil, domain.ErrUnavailable).Times(2)
		p.Queue.EXPECT().Oldest(apptest.Any, apptest.DefaultLane).Return(nil, nil).After(look.Call)

		apptest.WantError(t, sweep.Sweep(t.Context()), domain.ErrUnavailable)
		apptest.WantError(t, sweep.Sweep(t.Context()), domain.ErrUnavailable)
		apptest.Must(t, sweep.Sweep(t.Context()))
		apptest.Must(t, sweep.Sweep(t.Context())) // nothing has failed since: no look
	})
}
