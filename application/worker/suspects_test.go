package worker_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/apptest"
)

// losesWorkers has the tasks lose so many workers, and be due.
func (h *harness) losesWorkers(n int, ids ...domain.TaskID) {
	h.t.Helper()
	for _, id := range ids {
		for range n {
			apptest.Must(h.t, h.store.Change(id, func(task *domain.Task) error {
				if err := task.Claim(domain.Claim{Worker: "lost", Timeout: time.Minute}, apptest.Now()); err != nil {
					return err
				}
				if err := task.Rescue(apptest.RetryPolicy, apptest.Now()); err != nil {
					return err
				}
				return task.MarkQueued(apptest.Now())
			}))
		}
	}
}

// pushDue does what the dispatcher does.
func (h *harness) pushDue(ids []domain.TaskID) {
	h.t.Helper()
	for _, id := range ids {
		s := h.store.State(id)
		if s.Status != domain.StatusPending || !s.QueuedAt.IsZero() || s.RunAt.After(h.Clock.Now()) {
			continue
		}
		apptest.Must(h.t, h.store.Change(id, func(task *domain.Task) error { return task.MarkQueued(h.Clock.Now()) }))
		apptest.Must(h.t, h.queue.Push(h.t.Context(), apptest.Entry(id, h.Clock.Now())))
	}
}

func TestWorker_HoldsOneSuspectAtATime(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		h.cfg.Capacity = 100
		var running, most atomic.Int64
		h.handles(func(ctx context.Context, task *domain.Task) error {
			if task.Suspect(apptest.RetryPolicy) {
				most.Store(max(most.Load(), running.Add(1)))
				defer running.Add(-1)
			}
			return forTime(100*time.Millisecond)(ctx, task)
		})
		suspects, others := h.enqueue(30), h.enqueue(10)
		h.losesWorkers(2, suspects...)
		h.losesWorkers(1, others...)
		h.start()

		apptest.Same(t, "running of those that lost one worker", h.runningOf(others), len(others))
		apptest.Same(t, "held of those that lost two", h.runningOf(suspects), 1)
		for range 600 {
			apptest.Pass(time.Second)
			h.pushDue(suspects)
		}
		h.wantStatus(domain.StatusCompleted, suspects...)
		apptest.Same(t, "suspects at once", most.Load(), 1)
		for _, id := range suspects {
			if s := h.store.State(id); s.Rescues != 2 || s.Failures != 0 || s.Attempt > 30 {
				t.Errorf("a suspect that took its turn: attempt %d, %d rescues, %d failures", s.Attempt, s.Rescues, s.Failures)
			}
		}
	})
}

// No handler starts before the suspects that are too many are given back: what it does to
// the worker must not condemn them.
func TestWorker_GivesSuspectsBackBeforeAnythingStarts(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		h.cfg.Capacity = 100
		ids := h.enqueue(20)
		h.losesWorkers(2, ids...)
		h.Tasks.EXPECT().Save(apptest.Any, apptest.Any).DoAndReturn(func(ctx context.Context, task *domain.Task) error {
			time.Sleep(time.Second)
			return h.store.Save(ctx, task)
		}).AnyTimes()
		h.handles(func(context.Context, *domain.Task) error {
			apptest.Same(t, "held at the start of a handler", h.runningOf(ids), 1)
			return nil
		})
		h.start()
		apptest.Pass(2 * time.Second)
		if got := h.beats.Last(); len(got.Held) > 1 {
			t.Errorf("a beat lists %d attempts, want no more than one", len(got.Held))
		}
	})
}

// A give-back that is not stored is left to the next heartbeat.
func TestWorker_ASuspectThatCannotBeDeferredIsReleased(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		ids := h.enqueue(2)
		h.losesWorkers(2, ids...)
		h.Tasks.EXPECT().Save(apptest.Any, apptest.Any).Return(domain.ErrUnavailable).Times(1)
		h.handles(untilCanceled)
		h.start()
		apptest.Same(t, "held", h.runningOf(ids), 2)
		apptest.Pass(h.interval())

		apptest.Same(t, "held after a heartbeat", h.runningOf(ids), 1)
		apptest.Same(t, "rescues", h.store.State(ids[1]).Rescues, 2)
		apptest.Same(t, "listed", len(h.beats.Last().Held), 1)
	})
}
