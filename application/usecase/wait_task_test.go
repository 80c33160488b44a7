package usecase_test

import (
	"context"
	"testing"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/usecase"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/apptest"
)

func TestWaitTask_AnswersAtOnceWhenThereIsNothingToWaitFor(t *testing.T) {
	withWaiting(t, func(t *testing.T, h *waitHarness) {
		h.open(1)
		id := h.task()
		h.complete(id)

		h.want(h.waits(t.Context(), id, time.Minute), domain.StatusCompleted, 0)

		apptest.Same(t, "reads", len(h.reads.List()), 0)
	})
}

func TestWaitTask_AnswersOnAHint(t *testing.T) {
	withWaiting(t, func(t *testing.T, h *waitHarness) {
		h.open(10)
		id, other := h.task(), h.task()
		waits, others := h.waits(t.Context(), id, time.Minute), h.waits(t.Context(), other, time.Minute)
		apptest.Pass(usecase.PollInterval / 2)
		h.complete(id)
		h.hint(id)
		apptest.Pass(usecase.HintDebounce)

		h.want(waits, domain.StatusCompleted, usecase.PollInterval/2+usecase.HintDebounce)
		select {
		case <-others:
			t.Error("who waits for another task was answered")
		default:
		}
		apptest.Same(t, "tasks read", h.reads.Last(), 1)
		h.stop()
		h.want(others, domain.StatusProcessing, usecase.PollInterval/2+usecase.HintDebounce)
	})
}

func TestWaitTask_WaitsOnWhenAHintTellsOfAnotherChange(t *testing.T) {
	withWaiting(t, func(t *testing.T, h *waitHarness) {
		h.open(1)
		id := h.task()
		waits := h.waits(t.Context(), id, time.Second)
		apptest.Must(t, h.store.Change(id, func(task *domain.Task) error { return task.RequestStop(apptest.Now()) }))
		h.hint(id)
		apptest.Pass(usecase.HintDebounce)
		apptest.Same(t, "reads", len(h.reads.List()), 1)
		apptest.Same(t, "answers", len(waits), 0)

		apptest.Pass(time.Second)

		h.want(waits, domain.StatusProcessing, time.Second)
	})
}

func TestWaitTask_FindsByItselfWhatAHintHasLost(t *testing.T) {
	withWaiting(t, func(t *testing.T, h *waitHarness) {
		h.open(1)
		apptest.Pass(usecase.PollInterval / 2)
		id := h.task()
		waits := h.waits(t.Context(), id, time.Minute)
		h.complete(id)

		apptest.Pass(usecase.PollInterval / 2)

		h.want(waits, domain.StatusCompleted, usecase.PollInterval/2)
		before := len(h.reads.List())
		apptest.Pass(5 * usecase.PollInterval)
		apptest.Same(t, "reads while nobody waits", len(h.reads.List())-before, 0)
	})
}

// Messages and results may be long: they are read when they have changed,
// and not for as long as somebody waits.
func TestWaitTask_ReadsNoTaskThatHasNotChanged(t *testing.T) {
	withWaiting(t, func(t *testing.T, h *waitHarness) {
		h.open(1)
		id := h.task()
		waits := h.waits(t.Context(), id, time.Minute)
		apptest.Pass(10 * usecase.PollInterval)
		apptest.Same(t, "reads", len(h.reads.List()), 0)
		apptest.Must(t, h.store.Change(id, func(task *domain.Task) error { return task.RequestStop(apptest.Now()) }))
		apptest.Pass(5 * usecase.PollInterval)
		apptest.Same(t, "reads after a change", len(h.reads.List()), 1)
		h.complete(id)
		apptest.Pass(usecase.PollInterval)

		h.want(waits, domain.StatusCompleted, 16*usecase.PollInterval)
	})
}

func TestWaitTask_AnswersWithTheStateAtTheEndOfItsTime(t *testing.T) {
	withWaiting(t, func(t *testing.T, h *waitHarness) {
		h.open(1)
		id := h.task()
		waits := h.waits(t.Context(), id, usecase.PollInterval-1)
		apptest.Must(t, h.store.Change(id, func(task *domain.Task) error { return task.RequestStop(apptest.Now()) }))

		apptest.Pass(usecase.PollInterval - 1)

		got := <-waits
		apptest.Must(t, got.err)
		apptest.Same(t, "waited", got.took, usecase.PollInterval-1)
		apptest.Same(t, "the last change is seen", got.task.StopRequested(), true)
	})
}

func TestWaitTask_SaysThatTheStoreIsAway(t *testing.T) {
	t.Run("AtTheStart", func(t *testing.T) {
		withWaiting(t, func(t *testing.T, h *waitHarness) {
			h.Tasks.EXPECT().Get(apptest.Any, apptest.Any).Return(nil, domain.ErrUnavailable)
			h.open(1)

			apptest.WantError(t, (<-h.waits(t.Context(), h.task(), time.Minute)).err, domain.ErrUnavailable)
		})
	})
	t.Run("AtTheEnd", func(t *testing.T) {
		withWaiting(t, func(t *testing.T, h *waitHarness) {
			id := h.task()
			there, err := h.store.Get(t.Context(), id)
			apptest.Must(t, err)
			h.Tasks.EXPECT().Get(apptest.Any, id).Return(there, nil)
			h.Tasks.EXPECT().Get(apptest.Any, id).Return(nil, domain.ErrUnavailable)
			h.open(1)
			waits := h.waits(t.Context(), id, time.Second)

			apptest.Pass(time.Second)

			apptest.WantError(t, (<-waits).err, domain.ErrUnavailable)
		})
	})
}

func TestWaitTask_SaysThatThereIsNoSuchTask(t *testing.T) {
	withWaiting(t, func(t *testing.T, h *waitHarness) {
		h.open(1)

		apptest.WantError(t, (<-h.waits(t.Context(), apptest.NewTask(t).ID(), time.Minute)).err, domain.ErrTaskNotFound)
	})
}

// Who waits for the next change of a task learns that it is deleted: by the hint, or by
// the next poll.
func TestWaitTask_SaysThatTheTaskIsDeleted(t *testing.T) {
	for name, hinted := range map[string]bool{"Hinted": true, "HintLost": false} {
		t.Run(name, func(t *testing.T) {
			withWaiting(t, func(t *testing.T, h *waitHarness) {
				h.open(2)
				id, other := h.task(), h.task()
				waits, others := h.waits(t.Context(), id, time.Minute), h.waits(t.Context(), other, time.Minute)
				h.delete(id)
				after := usecase.PollInterval
				if hinted {
					h.hint(id)
					after = usecase.HintDebounce
				}
				apptest.Pass(after)

				got := <-waits
				apptest.WantError(t, got.err, domain.ErrTaskNotFound)
				apptest.Same(t, "waited", got.took, after)
				apptest.Same(t, "answers to who waits for another task", len(others), 0)
				h.stop()
				h.want(others, domain.StatusProcessing, after)
			})
		})
	}
}

func TestWaitTask_EndsWithItsCaller(t *testing.T) {
	withWaiting(t, func(t *testing.T, h *waitHarness) {
		h.open(1)
		ctx, hangUp := context.WithCancel(t.Context())
		waits := h.waits(ctx, h.task(), time.Minute)
		apptest.Pass(time.Second)

		hangUp()

		h.want(waits, domain.StatusProcessing, time.Second)
		apptest.Same(t, "tasks still waited for", h.wait.Waiting(), 0)
	})
}

func TestWaitTask_EndsWithTheProgram(t *testing.T) {
	withWaiting(t, func(t *testing.T, h *waitHarness) {
		h.open(10)
		waits, hinted := h.waits(t.Context(), h.task(), time.Minute), h.task()
		second := h.waits(t.Context(), hinted, time.Minute)
		apptest.Pass(time.Second)
		h.hint(hinted)

		h.stop()

		h.want(waits, domain.StatusProcessing, time.Second)
		h.want(second, domain.StatusProcessing, time.Second)
		h.want(h.waits(t.Context(), hinted, time.Minute), domain.StatusProcessing, 0) // it came too late
	})
}

// A read that hangs must hold up neither the end of the program nor that of a
// caller's time.
func TestWaitTask_AStoreThatHangsHoldsUpNobodysEnd(t *testing.T) {
	withWaiting(t, func(t *testing.T, h *waitHarness) {
		h.Tasks.EXPECT().Versions(apptest.Any, apptest.Any).DoAndReturn(func(ctx context.Context, _ ...domain.TaskID) (map[domain.TaskID]int64, error) {
			return nil, apptest.UntilEnded(ctx)
		})
		h.open(10)
		short, long := h.waits(t.Context(), h.task(), 2*usecase.PollInterval), h.waits(t.Context(), h.task(), time.Minute)
		apptest.Pass(2 * usecase.PollInterval)
		h.want(short, domain.StatusProcessing, 2*usecase.PollInterval)

		h.stop()

		h.want(long, domain.StatusProcessing, 2*usecase.PollInterval)
	})
}

func TestWaitTask_AThousandWaitersCostOneRead(t *testing.T) {
	t.Run("ForOneTask", func(t *testing.T) {
		withWaiting(t, func(t *testing.T, h *waitHarness) {
			h.open(1000)
			id := h.task()
			thousandWait(t, h, func() domain.TaskID { return id }, 1)
		})
	})
	t.Run("ForATaskEach", func(t *testing.T) { // in batches of 500
		withWaiting(t, func(t *testing.T, h *waitHarness) {
			h.open(1000)
			thousandWait(t, h, h.task, 2)
		})
	})
}

func thousandWait(t *testing.T, h *waitHarness, task func() domain.TaskID, reads int) {
	t.Helper()
	results := make([]<-chan waited, 1000)
	ids := map[domain.TaskID]bool{}
	for i := range results {
		id := task()
		ids[id] = true
		results[i] = h.waits(t.Context(), id, time.Minute)
	}
	for id := range ids {
		h.complete(id)
		h.hint(id)
	}
	apptest.Pass(usecase.HintDebounce)
	seen := map[*domain.Task]bool{}
	for _, result := range results {
		got := <-result
		apptest.Must(t, got.err)
		apptest.Same(t, "status", got.task.Status(), domain.StatusCompleted)
		apptest.Same(t, "waited", got.took, usecase.HintDebounce)
		seen[got.task] = true
	}
	apptest.Same(t, "tasks of their own", len(seen), len(results))
	apptest.Same(t, "reads", len(h.reads.List()), reads)
	apptest.Same(t, "gets", len(h.gets.List()), len(results))
}

func TestWaitTask_AHintForWhatNobodyWaitsForCostsNothing(t *testing.T) {
	withWaiting(t, func(t *testing.T, h *waitHarness) {
		h.open(1)
		id := h.task()
		h.hint(id)
		h.hint()
		apptest.Pass(time.Minute)

		apptest.Same(t, "reads", len(h.reads.List()), 0)
	})
}

func TestWaitTask_BoundsItsCallers(t *testing.T) {
	withWaiting(t, func(t *testing.T, h *waitHarness) {
		h.open(2)
		id := h.task()
		first, second := h.waits(t.Context(), id, time.Second), h.waits(t.Context(), id, time.Minute)

		_ = apptest.WantCode(t, (<-h.waits(t.Context(), id, time.Minute)).err, domain.CodeUnavailable)

		apptest.Pass(time.Second)
		h.want(first, domain.StatusProcessing, time.Second)
		third := h.waits(t.Context(), id, time.Second)
		apptest.Same(t, "answers", len(third), 0)
		h.stop()
		h.want(second, domain.StatusProcessing, time.Second)
		h.want(third, domain.StatusProcessing, 0)
	})
}

// A read that began before a change was made answers after it.
func TestWaitTask_AStaleReadTakesNobodyBack(t *testing.T) {
	withWaiting(t, func(t *testing.T, h *waitHarness) {
		id := h.task()
		stale, err := h.store.Get(t.Context(), id)
		apptest.Must(t, err)
		h.Tasks.EXPECT().GetMany(apptest.Any, id).Return([]*domain.Task{stale}, nil, nil)
		h.open(1)
		apptest.Must(t, h.store.Change(id, func(task *domain.Task) error { return task.RequestStop(apptest.Now()) }))
		waits := h.waits(t.Context(), id, time.Minute)
		h.hint(id)
		apptest.Pass(usecase.HintDebounce)

		h.stop()

		got := <-waits
		apptest.Must(t, got.err)
		apptest.Same(t, "version", got.task.Version(), stale.Version()+1)
	})
}

func TestWaitTask_GoesOnWhenAPollFails(t *testing.T) {
	withWaiting(t, func(t *testing.T, h *waitHarness) {
		h.Tasks.EXPECT().Versions(apptest.Any, apptest.Any).Return(nil, domain.ErrUnavailable)
		h.Events.EXPECT().LoopRan(apptest.Any, application.LoopWait, domain.ErrUnavailable)
		h.open(1)
		id := h.task()
		waits := h.waits(t.Context(), id, time.Minute)
		h.complete(id)

		apptest.Pass(2 * usecase.PollInterval)

		h.want(waits, domain.StatusCompleted, 2*usecase.PollInterval)
	})
}

func TestWaitTask_ListensAgainWhenTheConnectionIsLost(t *testing.T) {
	withWaiting(t, func(t *testing.T, h *waitHarness) {
		var tries apptest.Record[time.Time]
		h.Signals.EXPECT().Listen(apptest.Any, apptest.Any, apptest.Any).DoAndReturn(
			func(context.Context, func(), func(application.Signal)) error {
				tries.Add(apptest.Now())
				return domain.ErrUnavailable
			}).Times(3)
		h.Events.EXPECT().LoopRan(apptest.Any, application.LoopListen, domain.ErrUnavailable).Times(3)
		h.Events.EXPECT().LoopRan(apptest.Any, application.LoopListen, nil)
		h.open(1)
		apptest.Pass(usecase.PollInterval - time.Millisecond)
		apptest.Same(t, "tries", len(tries.List()), 3)
		id := h.task()
		waits := h.waits(t.Context(), id, time.Minute)
		apptest.Pass(10 * time.Millisecond)
		h.complete(id)
		h.hint(id)

		apptest.Pass(usecase.HintDebounce)

		h.want(waits, domain.StatusCompleted, 10*time.Millisecond+usecase.HintDebounce)
	})
}

// A read that takes too long is repeated smaller, and what a read has not got to is read next.
func TestWaitTask_ReadsInPortionsThatTheStoreCanDo(t *testing.T) {
	withWaiting(t, func(t *testing.T, h *waitHarness) {
		var asked []int
		h.Tasks.EXPECT().GetMany(apptest.Any, apptest.Any).DoAndReturn(func(ctx context.Context, ids ...domain.TaskID) ([]*domain.Task, []domain.TaskID, error) {
			if asked = append(asked, len(ids)); len(ids) > 4 {
				return nil, nil, apptest.ErrTookTooLong
			}
			tasks, _, err := h.store.GetMany(ctx, ids[:1]...)
			return tasks, ids[1:], err
		}).AnyTimes()
		h.open(8)
		ids, waits := make([]domain.TaskID, 8), make([]<-chan waited, 8)
		for i := range ids {
			ids[i] = h.task()
			waits[i] = h.waits(t.Context(), ids[i], time.Minute)
			h.complete(ids[i])
		}

		h.hint(ids...)
		apptest.Pass(usecase.HintDebounce)

		for _, w := range waits {
			h.want(w, domain.StatusCompleted, usecase.HintDebounce)
		}
		apptest.Equal(t, "tasks asked for", asked[:3], []int{8, 4, 4})
	})
}
