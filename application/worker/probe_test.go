package worker_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/internal/apptest"
	"github.com/millrace/millrace/domain"
)

// pullPatience is how long a pull, with its claim, may take.
const pullPatience = 15 * time.Second

// wantStuck fails the test unless the probe names the loop.
func (r *rig) wantStuck(loop application.Loop) {
	r.t.Helper()
	err := r.worker.Probe(r.t.Context())
	if err == nil {
		r.t.Fatalf("the worker is well, though its %s loop is stuck", loop)
	}
	// What is public is what /readyz shows.
	if public := domain.Public(err); public.Code != domain.CodeUnavailable || !strings.Contains(public.Message, string(loop)) {
		r.t.Errorf("to the public, %s: %q does not name the loop %s", public.Code, public.Message, loop)
	}
}

// wantWell fails the test unless the probe finds nothing.
func (r *rig) wantWell() {
	r.t.Helper()
	apptest.Must(r.t, r.worker.Probe(r.t.Context()))
}

func TestWorkerProbe_IsWellWhileTheLoopsTurn(t *testing.T) {
	onRig(t, func(_ *testing.T, r *rig) {
		r.handles(forTime(time.Second))
		r.start()
		for range 100 {
			r.wantWell()
			apptest.Pass(time.Second)
			r.enqueueOne()
		}
	})
}

func TestWorkerProbe_FailsWhenAPullHangs(t *testing.T) {
	onRig(t, func(_ *testing.T, r *rig) {
		r.Queue.EXPECT().Pull(apptest.Any, apptest.Any).DoAndReturn(func(ctx context.Context, _ application.PullRequest) ([]application.Entry, error) {
			return nil, apptest.UntilEnded(ctx)
		})
		r.start()

		apptest.Pass(pullPatience)
		r.wantWell()
		apptest.Pass(time.Microsecond)
		r.wantStuck(application.LoopPull)
	})
}

func TestWorkerProbe_FailsWhenEveryPullFailsUntilOneDoesNot(t *testing.T) {
	onRig(t, func(_ *testing.T, r *rig) {
		var back atomic.Bool
		r.Queue.EXPECT().Pull(apptest.Any, apptest.Any).DoAndReturn(func(context.Context, application.PullRequest) ([]application.Entry, error) {
			if !back.Load() {
				return nil, domain.ErrUnavailable
			}
			time.Sleep(time.Second)
			return nil, nil
		}).MinTimes(2)
		r.start()

		apptest.Pass(pullPatience)
		r.wantWell()
		apptest.Pass(time.Microsecond)
		r.wantStuck(application.LoopPull)

		back.Store(true)
		apptest.Pass(5 * time.Second) // the wait for the next try, and a pull
		r.wantWell()
	})
}

func TestWorkerProbe_FailsWhenNothingCanBeClaimed(t *testing.T) {
	onRig(t, func(_ *testing.T, r *rig) {
		r.Tasks.EXPECT().Claim(apptest.Any, apptest.Any).Return(application.ClaimResult{}, domain.ErrUnavailable).MinTimes(2)
		r.enqueue(1)
		r.start()

		apptest.Pass(pullPatience)
		r.wantWell()
		apptest.Pass(time.Microsecond)
		r.wantStuck(application.LoopPull)
	})
}

func TestWorkerProbe_IsWellWhileAllSlotsAreBusy(t *testing.T) {
	onRig(t, func(_ *testing.T, r *rig) {
		r.handles(forTime(4 * time.Minute))
		r.enqueue(r.cfg.Capacity)
		r.start()

		apptest.Pass(3 * time.Minute)

		r.wantWell()
	})
}

func TestWorkerProbe_FailsWhenNoBeatSucceedsForALease(t *testing.T) {
	onRig(t, func(_ *testing.T, r *rig) {
		answered := r.Workers.EXPECT().Beat(apptest.Any, apptest.Any).Return(application.BeatAnswer{}, nil).Times(1)
		r.Workers.EXPECT().Beat(apptest.Any, apptest.Any).Return(application.BeatAnswer{}, domain.ErrUnavailable).After(answered).Times(10)
		r.start()

		apptest.Pass(r.cfg.Lease)
		r.wantWell()
		apptest.Pass(time.Microsecond)
		r.wantStuck(application.LoopHeartbeat)
		apptest.Pass(r.interval()) // a beat succeeds again
		r.wantWell()
	})
}

func TestWorkerProbe_FailsWhenNoBeatEverSucceeds(t *testing.T) {
	onRig(t, func(_ *testing.T, r *rig) {
		r.Workers.EXPECT().Beat(apptest.Any, apptest.Any).Return(application.BeatAnswer{}, domain.ErrUnavailable).AnyTimes()
		r.start()

		apptest.Pass(r.cfg.Lease)
		r.wantWell()
		apptest.Pass(time.Microsecond)
		r.wantStuck(application.LoopHeartbeat)
	})
}
