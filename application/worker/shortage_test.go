package worker_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/apptest"
)

var errNoDescriptor = errors.New("too many open files")

func TestWorker_ReleasesUnchargedWhatItCannotStartAndPauses(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		var calls atomic.Int64
		h.handles(func(context.Context, *domain.Task) error {
			calls.Add(1)
			return application.NotStarted(errNoDescriptor)
		})
		ids := h.enqueue(h.cfg.Capacity + 1)
		h.start()

		apptest.Same(t, "handlers that were called", calls.Load(), int64(h.cfg.Capacity))
		h.wantStatus(domain.StatusPending, ids...)
		if s := h.store.State(ids[0]); s.Failures != 0 || s.Rescues != 0 || s.LastError != "" {
			t.Errorf("charged: %+v", s)
		}
		err := h.worker.Probe(t.Context())
		if public := domain.Public(err); public.Code != domain.CodeUnavailable || !strings.Contains(public.Message, errNoDescriptor.Error()) {
			t.Errorf("the worker is ready, or does not say why not: %v", err)
		}

		apptest.Pass(time.Second) // the last task is tried after the pause
		apptest.Same(t, "handlers that were called", calls.Load(), int64(h.cfg.Capacity+1))
	})
}

func TestWorker_AfterAShortagePullsFewAtFirst(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		h.cfg.Capacity = 100
		var lacking atomic.Bool
		lacking.Store(true)
		h.handles(func(context.Context, *domain.Task) error {
			if lacking.Load() {
				return application.NotStarted(errNoDescriptor)
			}
			return nil
		})
		h.enqueueOne()
		h.start()
		before := len(h.asked.List())
		lacking.Store(false)
		ids := h.enqueue(20)

		apptest.Pass(10 * time.Second)

		h.wantStatus(domain.StatusCompleted, ids...)
		asked := h.asked.List()[before:]
		if len(asked) < 4 || asked[0] > 2 || asked[1] > 4 {
			t.Errorf("pulls were for %v tasks", asked)
		}
		h.enqueueOne() // begun long after the shortage
		apptest.Pass(time.Second)
		h.wantWell()
	})
}

func TestWorker_TellsAShortageOnceAndItsEndOnce(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		var turns apptest.Record[error]
		h.Events.EXPECT().LoopRan(apptest.Any, application.LoopStart, apptest.Any).Do(func(_ context.Context, _ application.Loop, err error) { turns.Add(err) }).AnyTimes()
		var n atomic.Int64
		h.handles(func(context.Context, *domain.Task) error {
			if n.Add(1) == 1 {
				return application.NotStarted(errNoDescriptor)
			}
			return nil
		})
		h.enqueueOne()
		h.start()
		for range 20 {
			h.enqueueOne()
			apptest.Pass(time.Second)
		}
		got := turns.List()
		if len(got) != 2 || !errors.Is(got[0], errNoDescriptor) || got[1] != nil {
			t.Errorf("turns: %v", got)
		}
		h.wantWell()
	})
}

func TestWorker_EndsOnAStopDuringAShortage(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		h.handles(returning(application.NotStarted(errNoDescriptor)))
		h.enqueueOne()
		h.start()

		apptest.Same(t, "time taken", h.stopAndWait(), 0)
	})
}
