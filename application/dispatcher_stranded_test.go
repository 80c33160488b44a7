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

// sight is what a sweep for stranded tasks finds before it decides.
type sight struct {
	candidates bool
	oldest     time.Duration // age of the oldest entry on the queue; 0: the queue is empty
	err        error         // of the queue
}

// sweepsFor lets the dispatcher see one sight after the other, and returns the
// age of what each sweep took as stranded; 0: it took nothing.
func sweepsFor(t *testing.T, sights ...sight) []time.Duration {
	t.Helper()
	bounds := make([]time.Duration, len(sights))
	synctest.Test(t, func(t *testing.T) {
		p, turn := newPorts(t), -1
		p.dispatch.EXPECT().AnyQueuedBefore(anyArg, anyArg).DoAndReturn(func(_ context.Context, before time.Time) (bool, error) {
			turn++
			same(t, "age of a candidate", now().Sub(before), strandedGrace)
			return sights[turn].candidates, nil
		}).Times(len(sights))
		p.queue.EXPECT().Oldest(anyArg).DoAndReturn(func(context.Context) (time.Time, bool, error) {
			s := sights[turn]
			if !s.candidates {
				t.Error("the queue is asked although there are no candidates")
			}
			return now().Add(-s.oldest), s.oldest != 0, s.err
		}).AnyTimes()
		p.dispatch.EXPECT().Stranded(anyArg, anyArg, anyArg).DoAndReturn(
			func(_ context.Context, before time.Time, _ application.SweepBatch) (application.Swept, error) {
				bounds[turn] = now().Sub(before)
				return application.Swept{}, nil
			}).AnyTimes()
		p.events.EXPECT().Turn("stranded", domain.ErrUnavailable).AnyTimes()
		runFor(t, p, time.Duration(len(sights))*strandedEvery)
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
			[]sight{{true, time.Minute, nil}, {true, time.Minute, nil}},
			[]time.Duration{0, time.Minute + twice},
		},
		"BoundOfTheSecond": { // a deep queue is seen the second time only
			[]sight{lost, {true, time.Minute, nil}},
			[]time.Duration{0, time.Minute + strandedGrace},
		},
		"BoundOfTheFirst": { // the queue was drained in between
			[]sight{{true, time.Minute, nil}, lost},
			[]time.Duration{0, time.Minute + twice},
		},
		"MarkedByAClockThatIsAhead": {
			[]sight{{true, -time.Second, nil}, {true, -time.Second, nil}},
			[]time.Duration{0, twice},
		},
		"YoungEntries": { // younger than a candidate may be
			[]sight{{true, time.Second, nil}, {true, time.Second, nil}},
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
		p, task := newPorts(t), newTask(t)
		p.dispatch.EXPECT().AnyQueuedBefore(anyArg, anyArg).Return(true, nil).Times(2)
		p.queue.EXPECT().Oldest(anyArg).Return(time.Time{}, false, nil).Times(2)
		p.dispatch.EXPECT().Stranded(anyArg, anyArg, anyArg).DoAndReturn(
			func(_ context.Context, _ time.Time, b application.SweepBatch) (application.Swept, error) {
				return deciding(t, b, task), nil
			})
		p.events.EXPECT().Swept("stranded", 1)
		p.queue.EXPECT().Push(anyArg, application.Entry{ID: task.ID(), QueuedAt: now().Add(2 * strandedEvery)}).Return(nil)

		runFor(t, p, 2*strandedEvery)

		same(t, "version", task.Version(), 1)
	})
}

func TestDispatcher_TellsThatTheQueueCannotBeAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPorts(t)
		p.dispatch.EXPECT().AnyQueuedBefore(anyArg, anyArg).Return(true, nil)
		p.queue.EXPECT().Oldest(anyArg).Return(time.Time{}, false, domain.ErrUnavailable)
		p.events.EXPECT().Turn("stranded", domain.ErrUnavailable)

		runFor(t, p, strandedEvery)
	})
}
