package worker_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/application/internal/apptest"
	"github.com/millrace/millrace/domain"
)

// savesAfter has every save take so long.
func (r *rig) savesAfter(d time.Duration) {
	r.Tasks.EXPECT().Save(apptest.Any, apptest.Any).DoAndReturn(func(ctx context.Context, t *domain.Task) error {
		time.Sleep(d)
		return r.save(ctx, t)
	}).AnyTimes()
}

// running is a handler that works for so long, and the most that ran at once.
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
	onRig(t, func(t *testing.T, r *rig) {
		var most atomic.Int64
		r.handles(running(time.Second, &most))
		r.savesAfter(time.Second)
		ids := r.enqueue(30)
		r.start()

		apptest.Pass(11 * time.Second) // ten rounds of three, and the last save

		r.wantStatus(domain.StatusCompleted, ids...)
		apptest.Same(t, "most at once", most.Load(), int64(r.cfg.Capacity))
	})
}

func TestWorker_HoldsTwiceItsCapacityAtTheMostWhenNothingIsSaved(t *testing.T) {
	for name, err := range map[string]error{"Hangs": nil, "IsAway": domain.ErrUnavailable} {
		t.Run(name, func(t *testing.T) {
			onRig(t, func(t *testing.T, r *rig) {
				back := make(chan struct{})
				r.Tasks.EXPECT().Save(apptest.Any, apptest.Any).DoAndReturn(func(ctx context.Context, t *domain.Task) error {
					if err == nil {
						<-back
						return r.save(ctx, t)
					}
					select {
					case <-back:
						return r.save(ctx, t)
					default:
						return err
					}
				}).AnyTimes()
				r.handles(returning(nil))
				ids := r.enqueue(20)
				r.start()

				apptest.Pass(time.Minute)

				most := 2 * r.cfg.Capacity
				apptest.Same(t, "held", len(r.beats.Last().Held), most)
				apptest.Same(t, "left on the queue", len(r.line.IDs(domain.DefaultQueue)), len(ids)-most)
				r.wantStatus(domain.StatusProcessing, ids[:most]...)
				r.wantWell()
				close(back)
				apptest.Pass(10 * time.Second)
				r.wantStatus(domain.StatusCompleted, ids...)
			})
		})
	}
}

func TestWorker_AHandlerThatRunsKeepsItsSlotWhateverIsSaved(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.cfg.Capacity = 2
		var most atomic.Int64
		short, long := running(time.Second, &most), running(time.Hour, &most)
		first := r.enqueueOne()
		r.handles(func(ctx context.Context, task *domain.Task) error {
			if task.ID() == first {
				return long(ctx, task)
			}
			return short(ctx, task)
		})
		r.savesAfter(time.Minute)
		r.cfg.TaskTimeout = 2 * time.Hour
		ids := r.enqueue(100)
		r.start()

		apptest.Pass(time.Hour + 2*time.Minute)

		r.wantStatus(domain.StatusCompleted, append(ids, first)...)
		apptest.Same(t, "most of each kind at once", most.Load(), 1)
	})
}

// Room in a limited queue is what the store counts: it opens with the save.
func TestWorker_PullsNoMoreUnderALimitBeforeOutcomesAreSaved(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.takes("mail")
		r.store.Limit(domain.QueueSettings{Name: "mail", MaxRunning: 2})
		r.handles(returning(nil))
		r.savesAfter(time.Minute)
		ids := r.enqueueIn("mail", 4)
		r.start()
		apptest.Same(t, "pulls", len(r.pulls.List()), 1)
		apptest.Pass(time.Second)

		if got := r.pullsIn(58 * time.Second); got > 300 {
			t.Errorf("%d pulls in a minute without room, want about four a second", got)
		}
		r.wantStatus(domain.StatusPending, ids[2:]...)
		apptest.Pass(time.Second)
		r.wantStatus(domain.StatusCompleted, ids[:2]...)
		r.wantStatus(domain.StatusProcessing, ids[2:]...)
	})
}

func TestWorker_SavesOnAStopAllThatHasReturned(t *testing.T) {
	onRig(t, func(t *testing.T, r *rig) {
		r.handles(returning(nil))
		r.savesAfter(10 * time.Second)
		ids := r.enqueue(20)
		r.start()
		synctest.Wait()

		apptest.Same(t, "time taken", r.stopAndWait(), 10*time.Second)

		r.wantStatus(domain.StatusCompleted, ids[:2*r.cfg.Capacity]...)
		r.wantStatus(domain.StatusPending, ids[2*r.cfg.Capacity:]...)
	})
}
