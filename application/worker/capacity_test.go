package worker_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/apptest"
)

// savesAfter makes every save take that long.
func (h *harness) savesAfter(d time.Duration) {
	h.Tasks.EXPECT().Save(apptest.Any, apptest.Any).DoAndReturn(func(ctx context.Context, t *domain.Task) error {
		time.Sleep(d)
		return h.save(context.WithoutCancel(ctx), t)
	}).AnyTimes()
}

// running is a handler that works for d, and records the most that ran at once.
func running(d time.Duration, most *atomic.Int64) work {
	var now atomic.Int64
	return func(context.Context, *domain.Task) error {
		n := now.Add(1)
		defer now.Add(-1)
		for seen := most.Load(); n > seen && !most.CompareAndSwap(seen, n); seen = most.Load() {
		}
		time.Sleep(d)
		return nil
	}
}

func TestWorker_RunsTheNextTasksWhileOutcomesAreSaved(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		var most atomic.Int64
		h.handles(running(time.Second, &most))
		h.savesAfter(time.Second)
		ids := h.enqueue(30)
		h.start()

		apptest.Pass(11 * time.Second) // ten rounds of three, and the last save

		h.wantStatus(domain.StatusCompleted, ids...)
		apptest.Same(t, "most at once", most.Load(), int64(h.cfg.Capacity))
	})
}

func TestWorker_HoldsTwiceItsCapacityAtTheMostWhenNothingIsSaved(t *testing.T) {
	for name, err := range map[string]error{"Hangs": nil, "IsAway": domain.ErrUnavailable} {
		t.Run(name, func(t *testing.T) {
			withHarness(t, func(t *testing.T, h *harness) {
				back := make(chan struct{})
				h.Tasks.EXPECT().Save(apptest.Any, apptest.Any).DoAndReturn(func(ctx context.Context, t *domain.Task) error {
					if err == nil {
						<-back
						return h.save(ctx, t)
					}
					select {
					case <-back:
						return h.save(ctx, t)
					default:
						return err
					}
				}).AnyTimes()
				h.handles(returning(nil))
				ids := h.enqueue(20)
				h.start()

				apptest.Pass(time.Minute)

				most := 2 * h.cfg.Capacity
				apptest.Same(t, "held", len(h.beats.Last().Held), most)
				apptest.Same(t, "left on the queue", len(apptest.Queued(t, h.queue, domain.DefaultQueue)), len(ids)-most)
				h.wantStatus(domain.StatusProcessing, ids[:most]...)
				h.wantWell()
				close(back)
				apptest.Pass(10 * time.Second)
				h.wantStatus(domain.StatusCompleted, ids...)
			})
		})
	}
}

func TestWorker_AHandlerThatRunsKeepsItsSlotWhateverIsSaved(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		h.cfg.Capacity = 2
		var most atomic.Int64
		short, long := running(time.Second, &most), running(time.Hour, &most)
		first := h.enqueueOne()
		h.handles(func(ctx context.Context, task *domain.Task) error {
			if task.ID() == first {
				return long(ctx, task)
			}
			return short(ctx, task)
		})
		h.savesAfter(time.Minute)
		h.cfg.TaskTimeout = 2 * time.Hour
		ids := h.enqueue(100)
		h.start()

		apptest.Pass(time.Hour + 2*time.Minute)

		h.wantStatus(domain.StatusCompleted, append(ids, first)...)
		apptest.Same(t, "most of each kind at once", most.Load(), 1)
	})
}

// Room in a limited queue is what the store counts: it opens with the save.
func TestWorker_PullsNoMoreUnderALimitBeforeOutcomesAreSaved(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		h.takes("mail")
		h.store.Limit(domain.QueueSettings{Name: "mail", MaxRunning: 2})
		h.handles(returning(nil))
		h.savesAfter(time.Minute)
		ids := h.enqueueIn("mail", 4)
		h.start()
		apptest.Same(t, "pulls", len(h.pulls.List()), 1)
		apptest.Pass(time.Second)

		if got := h.pullsIn(58 * time.Second); got > 300 {
			t.Errorf("%d pulls in a minute without room, want about four a second", got)
		}
		h.wantStatus(domain.StatusPending, ids[2:]...)
		apptest.Pass(time.Second)
		h.wantStatus(domain.StatusCompleted, ids[:2]...)
		h.wantStatus(domain.StatusProcessing, ids[2:]...)
	})
}

func TestWorker_SavesOnAStopAllThatHasReturned(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		h.handles(returning(nil))
		h.savesAfter(10 * time.Second)
		ids := h.enqueue(20)
		h.start()
		synctest.Wait()

		apptest.Same(t, "time taken", h.stopAndWait(), 10*time.Second)

		h.wantStatus(domain.StatusCompleted, ids[:2*h.cfg.Capacity]...)
		h.wantStatus(domain.StatusPending, ids[2*h.cfg.Capacity:]...)
	})
}
