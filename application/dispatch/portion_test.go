package dispatch_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/dispatch"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/apptest"
)

// slowStore answers steps of up to most within its time, until it has done them all.
type slowStore struct {
	most, left int
	limits     []int // of the steps that it was asked for
}

func (s *slowStore) step(limit int) (done int, err error) {
	s.limits = append(s.limits, limit)
	if limit > s.most {
		return 0, apptest.ErrTookTooLong
	}
	done = min(limit, s.left)
	s.left -= done
	return done, nil
}

func TestDispatcher_RepeatsAStepThatTookTooLongSmallerAndGrowsBack(t *testing.T) {
	for name, c := range map[string]struct {
		loop  application.Loop
		first int
		sweep func(p *apptest.Ports, s *slowStore) func(context.Context) error
	}{
		"Sweep": {application.SweepDue, sweepLimit, func(p *apptest.Ports, s *slowStore) func(context.Context) error {
			p.Dispatch.EXPECT().Due(apptest.Any, apptest.Any, apptest.Any).DoAndReturn(
				func(_ context.Context, _ time.Time, b application.SweepBatch) (application.SweepResult, error) {
					done, err := s.step(b.Limit)
					return application.SweepResult{Found: done}, err
				}).AnyTimes()
			return dispatch.NewDue(deps(p)).Sweep
		}},
		"Keys": {application.SweepKeys, dispatch.KeyLimit, func(p *apptest.Ports, s *slowStore) func(context.Context) error {
			p.Dispatch.EXPECT().ForgetKeys(apptest.Any, apptest.Any, apptest.Any).DoAndReturn(
				func(_ context.Context, _ time.Time, limit int) (int, error) { return s.step(limit) }).AnyTimes()
			return dispatch.NewKeys(deps(p)).Sweep
		}},
		"BulkAction": {application.SweepBulk, dispatch.BulkLimit, func(p *apptest.Ports, s *slowStore) func(context.Context) error {
			p.Bulks.EXPECT().Step(apptest.Any, apptest.Any).DoAndReturn(
				func(_ context.Context, step application.BulkStep) (application.BulkStepResult, error) {
					if s.left == 0 {
						return application.BulkStepResult{}, nil
					}
					_, err := s.step(step.Limit)
					return application.BulkStepResult{Found: true}, err
				}).AnyTimes()
			return dispatch.NewBulk(deps(p)).Sweep
		}},
	} {
		t.Run(name, func(t *testing.T) {
			p, store := apptest.NewPorts(t), &slowStore{most: c.first / 8, left: c.first / 8 * 2}
			p.Events.EXPECT().LoopRan(apptest.Any, c.loop, apptest.ErrTookTooLong).MinTimes(3)
			p.Events.EXPECT().LoopRan(apptest.Any, c.loop, nil).MinTimes(2) // there is progress
			p.Events.EXPECT().Swept(apptest.Any, application.SweepKeys, apptest.Any).AnyTimes()
			sweep := c.sweep(p, store)

			apptest.Must(t, sweep(t.Context()))

			want := []int{c.first, c.first / 2, c.first / 4, c.first / 8, c.first / 8 * 2, c.first / 8}
			apptest.Equal(t, "limits", store.limits[:len(want)], want)
			apptest.Same(t, "left", store.left, 0)

			store.most, store.left, store.limits = c.first, 10*c.first, nil // it is well again
			apptest.Must(t, sweep(t.Context()))
			apptest.Same(t, "the last limit", store.limits[len(store.limits)-1], c.first)
		})
	}
}

func TestDispatcher_EndsASweepWhoseSmallestStepTakesTooLong(t *testing.T) {
	p, store := apptest.NewPorts(t), &slowStore{}
	p.Dispatch.EXPECT().Due(apptest.Any, apptest.Any, apptest.Any).DoAndReturn(
		func(_ context.Context, _ time.Time, b application.SweepBatch) (application.SweepResult, error) {
			_, err := store.step(b.Limit)
			return application.SweepResult{}, err
		}).AnyTimes()
	p.Events.EXPECT().LoopRan(apptest.Any, application.SweepDue, apptest.ErrTookTooLong).Times(8)
	sweep := dispatch.NewDue(deps(p))

	apptest.WantError(t, sweep.Sweep(t.Context()), domain.ErrUnavailable)
	apptest.WantError(t, sweep.Sweep(t.Context()), domain.ErrUnavailable)

	if want := []int{500, 250, 125, 62, 31, 15, 7, 3, 1, 1}; !slices.Equal(store.limits, want) {
		t.Errorf("limits %v, want %v", store.limits, want)
	}
}
