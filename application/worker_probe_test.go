package application_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// pullPatience is how long a pull, with its claim, may take.
const pullPatience = 15 * time.Second

// wantStuck fails the test unless the probe names the loop.
func (r *rig) wantStuck(loop string) {
	r.t.Helper()
	err := r.worker.Probe(r.t.Context())
	if err == nil {
		r.t.Fatalf("the worker is well, though its %s loop is stuck", loop)
	}
	// What is public is what /readyz shows.
	if public := domain.Public(err); public.Code != domain.CodeUnavailable || !strings.Contains(public.Message, loop) {
		r.t.Errorf("to the public, %s: %q does not name the loop %s", public.Code, public.Message, loop)
	}
}

// wantWell fails the test unless the probe finds nothing.
func (r *rig) wantWell() {
	r.t.Helper()
	must(r.t, r.worker.Probe(r.t.Context()))
}

func TestWorkerProbe_IsWellWhileTheLoopsTurn(t *testing.T) {
	onRig(t, func(_ *testing.T, r *rig) {
		r.handles(forTime(time.Second))
		r.start()
		for range 100 {
			r.wantWell()
			pass(time.Second)
			r.enqueueOne()
		}
	})
}

func TestWorkerProbe_FailsWhenAPullHangs(t *testing.T) {
	onRig(t, func(_ *testing.T, r *rig) {
		r.queue.EXPECT().Pull(anyArg, anyArg).DoAndReturn(func(ctx context.Context, _ application.PullRequest) ([]application.Entry, error) {
			return nil, untilEnded(ctx)
		})
		r.start()

		pass(pullPatience)
		r.wantWell()
		pass(time.Microsecond)
		r.wantStuck("pull")
	})
}

func TestWorkerProbe_FailsWhenEveryPullFailsUntilOneDoesNot(t *testing.T) {
	onRig(t, func(_ *testing.T, r *rig) {
		var back atomic.Bool
		r.queue.EXPECT().Pull(anyArg, anyArg).DoAndReturn(func(context.Context, application.PullRequest) ([]application.Entry, error) {
			if !back.Load() {
				return nil, domain.ErrUnavailable
			}
			time.Sleep(time.Second)
			return nil, nil
		}).MinTimes(2)
		r.start()

		pass(pullPatience)
		r.wantWell()
		pass(time.Microsecond)
		r.wantStuck("pull")

		back.Store(true)
		pass(5 * time.Second) // the wait for the next try, and a pull
		r.wantWell()
	})
}

func TestWorkerProbe_FailsWhenNothingCanBeClaimed(t *testing.T) {
	onRig(t, func(_ *testing.T, r *rig) {
		r.tasks.EXPECT().Claim(anyArg, anyArg).Return(application.Claimed{}, domain.ErrUnavailable).MinTimes(2)
		r.enqueue(1)
		r.start()

		pass(pullPatience)
		r.wantWell()
		pass(time.Microsecond)
		r.wantStuck("pull")
	})
}

func TestWorkerProbe_IsWellWhileAllSlotsAreBusy(t *testing.T) {
	onRig(t, func(_ *testing.T, r *rig) {
		r.handles(forTime(4 * time.Minute))
		r.enqueue(r.cfg.Capacity)
		r.start()

		pass(3 * time.Minute)

		r.wantWell()
	})
}

func TestWorkerProbe_FailsWhenNoBeatSucceedsForALease(t *testing.T) {
	onRig(t, func(_ *testing.T, r *rig) {
		answered := r.workers.EXPECT().Beat(anyArg, anyArg).Return(application.BeatAnswer{}, nil).Times(1)
		r.workers.EXPECT().Beat(anyArg, anyArg).Return(application.BeatAnswer{}, domain.ErrUnavailable).After(answered).Times(10)
		r.start()

		pass(r.cfg.Lease)
		r.wantWell()
		pass(time.Microsecond)
		r.wantStuck("beat")
		pass(r.interval()) // a beat succeeds again
		r.wantWell()
	})
}

func TestWorkerProbe_FailsWhenNoBeatEverSucceeds(t *testing.T) {
	onRig(t, func(_ *testing.T, r *rig) {
		r.workers.EXPECT().Beat(anyArg, anyArg).Return(application.BeatAnswer{}, domain.ErrUnavailable).AnyTimes()
		r.start()

		pass(r.cfg.Lease)
		r.wantWell()
		pass(time.Microsecond)
		r.wantStuck("beat")
	})
}
