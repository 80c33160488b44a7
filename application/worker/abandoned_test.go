package worker_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/application/worker"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/apptest"
)

// ignoresItsContext is a handler that returns when the channel is closed, whatever
// its context says.
func ignoresItsContext(returns <-chan struct{}) work {
	return func(context.Context, *domain.Task) error {
		<-returns
		return nil
	}
}

// abandons makes the worker leave n handlers behind, and returns when it has.
func (h *harness) abandons(n int) {
	h.t.Helper()
	h.Events.EXPECT().HandlerAbandoned(apptest.Any, apptest.Any, apptest.Any).Times(n)
	h.cfg.TaskTimeout = time.Second
	h.enqueue(n)
	h.start()
	apptest.Pass(h.cfg.TaskTimeout + h.cfg.HandlerGrace)
}

func TestWorker_TakesNoTasksWhileTooManyHandlersAreAbandoned(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		returns := make(chan struct{})
		h.handles(ignoresItsContext(returns))
		h.abandons(h.cfg.Capacity)
		apptest.Pass(worker.PullWait) // the pull that was under way
		before := len(h.pulls.List())
		ids := h.enqueue(2)

		apptest.Pass(time.Minute)

		h.wantStatus(domain.StatusPending, ids...)
		apptest.Same(t, "pulls", len(h.pulls.List())-before, 0)
		err := h.worker.Probe(t.Context())
		if public := domain.Public(err); err == nil || public.Code != domain.CodeUnavailable || !strings.Contains(public.Message, "3 handlers have not returned") {
			t.Errorf("the probe says %v", err)
		}
		apptest.Same(t, "abandoned, by the beat", h.beats.Last().Worker.Abandoned, 3)
		apptest.Same(t, "stuck, by the beat", h.beats.Last().Worker.Stuck, true)

		close(returns)
		apptest.Pass(h.interval())

		h.wantStatus(domain.StatusCompleted, ids...)
		h.wantWell()
		apptest.Same(t, "abandoned, by the beat", h.beats.Last().Worker.Abandoned, 0)
		apptest.Same(t, "stuck, by the beat", h.beats.Last().Worker.Stuck, false)
	})
}

func TestWorker_GoesOnBelowTheLimitOfAbandonedHandlers(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		returns := make(chan struct{})
		defer close(returns)
		h.cfg.Capacity, h.cfg.MaxAbandoned = 1, 2
		h.Handler.EXPECT().Handle(apptest.Any, apptest.Any).DoAndReturn(ignoresItsContext(returns).handle).Times(1)
		h.handles(returning(nil))
		h.abandons(1)
		id := h.enqueueOne()
		apptest.Pass(time.Second)

		h.wantStatus(domain.StatusCompleted, id)
		h.wantWell()
		apptest.Same(t, "stuck, by the beat", h.beats.Last().Worker.Stuck, false)
	})
}
