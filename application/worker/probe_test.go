package worker_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/worker"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/apptest"
)

// wantStuck fails the test unless the probe names the loop.
func (h *harness) wantStuck(loop application.Loop) {
	h.t.Helper()
	err := h.worker.Probe(h.t.Context())
	if err == nil {
		h.t.Fatalf("the worker is well, though its %s loop is stuck", loop)
	}
	// What is public is what /readyz shows.
	if public := domain.Public(err); public.Code != domain.CodeUnavailable || !strings.Contains(public.Message, string(loop)) {
		h.t.Errorf("to the public, %s: %q does not name the loop %s", public.Code, public.Message, loop)
	}
}

// wantWell fails the test unless the probe finds nothing.
func (h *harness) wantWell() {
	h.t.Helper()
	apptest.Must(h.t, h.worker.Probe(h.t.Context()))
}

func TestWorkerProbe_IsWellWhileTheLoopsTurn(t *testing.T) {
	withHarness(t, func(_ *testing.T, h *harness) {
		h.handles(forTime(time.Second))
		h.start()
		for range 100 {
			h.wantWell()
			apptest.Pass(time.Second)
			h.enqueueOne()
		}
	})
}

func TestWorkerProbe_FailsWhenAPullHangs(t *testing.T) {
	withHarness(t, func(_ *testing.T, h *harness) {
		h.Queue.EXPECT().Pull(apptest.Any, apptest.Any).DoAndReturn(func(ctx context.Context, _ application.PullRequest) ([]application.Entry, error) {
			return nil, apptest.UntilEnded(ctx)
		})
		h.start()

		apptest.Pass(worker.PullTimeout)
		h.wantWell()
		apptest.Pass(time.Microsecond)
		h.wantStuck(application.LoopPull)
	})
}

func TestWorkerProbe_FailsWhenEveryPullFailsUntilOneDoesNot(t *testing.T) {
	withHarness(t, func(_ *testing.T, h *harness) {
		var back atomic.Bool
		h.Queue.EXPECT().Pull(apptest.Any, apptest.Any).DoAndReturn(func(context.Context, application.PullRequest) ([]application.Entry, error) {
			if !back.Load() {
				return nil, domain.ErrUnavailable
			}
			time.Sleep(time.Second)
			return nil, nil
		}).MinTimes(2)
		h.start()

		apptest.Pass(worker.PullTimeout)
		h.wantWell()
		apptest.Pass(time.Microsecond)
		h.wantStuck(application.LoopPull)

		back.Store(true)
		apptest.Pass(5 * time.Second) // the wait for the next try, and a pull
		h.wantWell()
	})
}

func TestWorkerProbe_FailsWhenNothingCanBeClaimed(t *testing.T) {
	withHarness(t, func(_ *testing.T, h *harness) {
		h.Tasks.EXPECT().Claim(apptest.Any, apptest.Any).Return(application.ClaimResult{}, domain.ErrUnavailable).MinTimes(2)
		h.enqueue(1)
		h.start()

		apptest.Pass(worker.PullTimeout)
		h.wantWell()
		apptest.Pass(time.Microsecond)
		h.wantStuck(application.LoopPull)
	})
}

func TestWorkerProbe_IsWellWhileAllSlotsAreBusy(t *testing.T) {
	withHarness(t, func(_ *testing.T, h *harness) {
		h.handles(forTime(4 * time.Minute))
		h.enqueue(h.cfg.Capacity)
		h.start()

		apptest.Pass(3 * time.Minute)

		h.wantWell()
	})
}

func TestWorkerProbe_FailsWhenNoBeatSucceedsForALease(t *testing.T) {
	withHarness(t, func(_ *testing.T, h *harness) {
		answered := h.Workers.EXPECT().Beat(apptest.Any, apptest.Any).Return(application.BeatAnswer{}, nil).Times(1)
		h.Workers.EXPECT().Beat(apptest.Any, apptest.Any).Return(application.BeatAnswer{}, domain.ErrUnavailable).After(answered).Times(10)
		h.start()

		apptest.Pass(h.cfg.Lease)
		h.wantWell()
		apptest.Pass(time.Microsecond)
		h.wantStuck(application.LoopHeartbeat)
		apptest.Pass(h.interval()) // a beat succeeds again
		h.wantWell()
	})
}

func TestWorkerProbe_FailsWhenNoBeatEverSucceeds(t *testing.T) {
	withHarness(t, func(_ *testing.T, h *harness) {
		h.Workers.EXPECT().Beat(apptest.Any, apptest.Any).Return(application.BeatAnswer{}, domain.ErrUnavailable).AnyTimes()
		h.start()

		apptest.Pass(h.cfg.Lease)
		h.wantWell()
		apptest.Pass(time.Microsecond)
		h.wantStuck(application.LoopHeartbeat)
	})
}

// The heart of a worker beats on while its attempts stand still, whatever holds them up.
func TestWorkerProbe_FailsWhenAttemptsDoNotEndThoughTheirTimeIsOver(t *testing.T) {
	withHarness(t, func(_ *testing.T, h *harness) {
		h.handles(forTime(time.Second))
		standstill := make(chan struct{})
		h.Events.EXPECT().AttemptEnded(apptest.Any, apptest.Any, apptest.Any).Do(
			func(context.Context, *domain.Task, application.AttemptEnd) { <-standstill }).Times(2)
		h.enqueue(2)
		h.start()

		apptest.Pass(h.cfg.TaskTimeout + 3*h.cfg.HandlerGrace)
		h.wantWell()
		apptest.Pass(time.Microsecond)
		err := h.worker.Probe(h.t.Context())
		if public := domain.Public(err); public.Code != domain.CodeUnavailable || !strings.Contains(public.Message, "2 are past their deadline") {
			h.t.Errorf("2 attempts do not end: %v", err)
		}
		close(standstill)
		apptest.Pass(0)
		h.wantWell()
	})
}

// What is kept because the store is away, or somebody has locked the row, is no reason.
func TestWorkerProbe_IsWellWhileOutcomesAreKept(t *testing.T) {
	withHarness(t, func(_ *testing.T, h *harness) {
		h.handles(forTime(time.Second))
		h.Tasks.EXPECT().Save(apptest.Any, apptest.Any).Return(domain.ErrUnavailable).MinTimes(2)
		h.Events.EXPECT().OutcomeUnsaved(apptest.Any, apptest.Any, apptest.Any, apptest.Any).MaxTimes(1) // at the end
		h.enqueueOne()
		h.start()

		apptest.Pass(h.cfg.TaskTimeout + 10*h.cfg.HandlerGrace)
		h.wantWell()
	})
}
