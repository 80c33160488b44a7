package usecase_test

import (
	"context"
	"testing"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/internal/apptest"
	"github.com/millrace/millrace/domain"
)

const (
	waitGather = 5 * time.Millisecond
	waitLook   = 2 * time.Second
)

func TestWaitTask_AnswersAtOnceWhenThereIsNothingToWaitFor(t *testing.T) {
	onDesk(t, func(t *testing.T, d *desk) {
		d.open(1)
		id := d.task()
		d.complete(id)

		d.want(d.waits(t.Context(), id, time.Minute), domain.StatusCompleted, 0)

		apptest.Same(t, "looks", len(d.looks.List()), 0)
	})
}

func TestWaitTask_AnswersOnAHint(t *testing.T) {
	onDesk(t, func(t *testing.T, d *desk) {
		d.open(10)
		id, other := d.task(), d.task()
		waits, others := d.waits(t.Context(), id, time.Minute), d.waits(t.Context(), other, time.Minute)
		apptest.Pass(waitLook / 2)
		d.complete(id)
		d.hint(id)
		apptest.Pass(waitGather)

		d.want(waits, domain.StatusCompleted, waitLook/2+waitGather)
		select {
		case <-others:
			t.Error("who waits for another task was answered")
		default:
		}
		apptest.Same(t, "tasks looked at", d.looks.Last(), 1)
		d.stop()
		d.want(others, domain.StatusProcessing, waitLook/2+waitGather)
	})
}

func TestWaitTask_WaitsOnWhenAHintTellsOfAnotherChange(t *testing.T) {
	onDesk(t, func(t *testing.T, d *desk) {
		d.open(1)
		id := d.task()
		waits := d.waits(t.Context(), id, time.Second)
		apptest.Must(t, d.store.Change(id, func(task *domain.Task) error { return task.RequestStop(apptest.Now()) }))
		d.hint(id)
		apptest.Pass(waitGather)
		apptest.Same(t, "looks", len(d.looks.List()), 1)
		apptest.Same(t, "answers", len(waits), 0)

		apptest.Pass(time.Second)

		d.want(waits, domain.StatusProcessing, time.Second)
	})
}

func TestWaitTask_FindsByItselfWhatAHintHasLost(t *testing.T) {
	onDesk(t, func(t *testing.T, d *desk) {
		d.open(1)
		apptest.Pass(waitLook / 2)
		id := d.task()
		waits := d.waits(t.Context(), id, time.Minute)
		d.complete(id)

		apptest.Pass(waitLook / 2)

		d.want(waits, domain.StatusCompleted, waitLook/2)
		before := len(d.looks.List())
		apptest.Pass(5 * waitLook)
		apptest.Same(t, "looks while nobody waits", len(d.looks.List())-before, 0)
	})
}

// Messages and results may be long: they are read when there is news, and not
// for as long as somebody waits.
func TestWaitTask_ReadsNoTaskThatHasNotChanged(t *testing.T) {
	onDesk(t, func(t *testing.T, d *desk) {
		d.open(1)
		id := d.task()
		waits := d.waits(t.Context(), id, time.Minute)
		apptest.Pass(10 * waitLook)
		apptest.Same(t, "looks", len(d.looks.List()), 0)
		apptest.Must(t, d.store.Change(id, func(task *domain.Task) error { return task.RequestStop(apptest.Now()) }))
		apptest.Pass(5 * waitLook)
		apptest.Same(t, "looks after a change", len(d.looks.List()), 1)
		d.complete(id)
		apptest.Pass(waitLook)

		d.want(waits, domain.StatusCompleted, 16*waitLook)
	})
}

func TestWaitTask_AnswersWithTheStateAtTheEndOfItsTime(t *testing.T) {
	onDesk(t, func(t *testing.T, d *desk) {
		d.open(1)
		id := d.task()
		waits := d.waits(t.Context(), id, waitLook-1)
		apptest.Must(t, d.store.Change(id, func(task *domain.Task) error { return task.RequestStop(apptest.Now()) }))

		apptest.Pass(waitLook - 1)

		got := <-waits
		apptest.Must(t, got.err)
		apptest.Same(t, "waited", got.took, waitLook-1)
		apptest.Same(t, "the last change is seen", got.task.StopRequested(), true)
	})
}

func TestWaitTask_SaysThatTheStoreIsAway(t *testing.T) {
	t.Run("AtTheStart", func(t *testing.T) {
		onDesk(t, func(t *testing.T, d *desk) {
			d.Tasks.EXPECT().Get(apptest.Any, apptest.Any).Return(nil, domain.ErrUnavailable)
			d.open(1)

			apptest.WantError(t, (<-d.waits(t.Context(), d.task(), time.Minute)).err, domain.ErrUnavailable)
		})
	})
	t.Run("AtTheEnd", func(t *testing.T) {
		onDesk(t, func(t *testing.T, d *desk) {
			id := d.task()
			there, err := d.store.Get(t.Context(), id)
			apptest.Must(t, err)
			d.Tasks.EXPECT().Get(apptest.Any, id).Return(there, nil)
			d.Tasks.EXPECT().Get(apptest.Any, id).Return(nil, domain.ErrUnavailable)
			d.open(1)
			waits := d.waits(t.Context(), id, time.Second)

			apptest.Pass(time.Second)

			apptest.WantError(t, (<-waits).err, domain.ErrUnavailable)
		})
	})
}

func TestWaitTask_SaysThatThereIsNoSuchTask(t *testing.T) {
	onDesk(t, func(t *testing.T, d *desk) {
		d.open(1)

		apptest.WantError(t, (<-d.waits(t.Context(), apptest.NewTask(t).ID(), time.Minute)).err, domain.ErrTaskNotFound)
	})
}

func TestWaitTask_EndsWithItsCaller(t *testing.T) {
	onDesk(t, func(t *testing.T, d *desk) {
		d.open(1)
		ctx, hangUp := context.WithCancel(t.Context())
		waits := d.waits(ctx, d.task(), time.Minute)
		apptest.Pass(time.Second)

		hangUp()

		d.want(waits, domain.StatusProcessing, time.Second)
		apptest.Same(t, "tasks still waited for", d.wait.Waiting(), 0)
	})
}

func TestWaitTask_EndsWithTheProgram(t *testing.T) {
	onDesk(t, func(t *testing.T, d *desk) {
		d.open(10)
		waits, hinted := d.waits(t.Context(), d.task(), time.Minute), d.task()
		second := d.waits(t.Context(), hinted, time.Minute)
		apptest.Pass(time.Second)
		d.hint(hinted)

		d.stop()

		d.want(waits, domain.StatusProcessing, time.Second)
		d.want(second, domain.StatusProcessing, time.Second)
		d.want(d.waits(t.Context(), hinted, time.Minute), domain.StatusProcessing, 0) // it came too late
	})
}

// A look that hangs must hold up neither the end of the program nor that of a
// caller's time.
func TestWaitTask_AStoreThatHangsHoldsUpNobodysEnd(t *testing.T) {
	onDesk(t, func(t *testing.T, d *desk) {
		d.Tasks.EXPECT().Versions(apptest.Any, apptest.Any).DoAndReturn(func(ctx context.Context, _ ...domain.TaskID) (map[domain.TaskID]int64, error) {
			return nil, apptest.UntilEnded(ctx)
		})
		d.open(10)
		short, long := d.waits(t.Context(), d.task(), 2*waitLook), d.waits(t.Context(), d.task(), time.Minute)
		apptest.Pass(2 * waitLook)
		d.want(short, domain.StatusProcessing, 2*waitLook)

		d.stop()

		d.want(long, domain.StatusProcessing, 2*waitLook)
	})
}

func TestWaitTask_AThousandWaitersCostOneLook(t *testing.T) {
	t.Run("ForOneTask", func(t *testing.T) {
		onDesk(t, func(t *testing.T, d *desk) {
			d.open(1000)
			id := d.task()
			thousandWait(t, d, func() domain.TaskID { return id }, 1)
		})
	})
	t.Run("ForATaskEach", func(t *testing.T) { // in batches of 500
		onDesk(t, func(t *testing.T, d *desk) {
			d.open(1000)
			thousandWait(t, d, d.task, 2)
		})
	})
}

func thousandWait(t *testing.T, d *desk, task func() domain.TaskID, looks int) {
	t.Helper()
	results := make([]<-chan waited, 1000)
	ids := map[domain.TaskID]bool{}
	for i := range results {
		id := task()
		ids[id] = true
		results[i] = d.waits(t.Context(), id, time.Minute)
	}
	for id := range ids {
		d.complete(id)
		d.hint(id)
	}
	apptest.Pass(waitGather)
	seen := map[*domain.Task]bool{}
	for _, result := range results {
		got := <-result
		apptest.Must(t, got.err)
		apptest.Same(t, "status", got.task.Status(), domain.StatusCompleted)
		apptest.Same(t, "waited", got.took, waitGather)
		seen[got.task] = true
	}
	apptest.Same(t, "tasks of their own", len(seen), len(results))
	apptest.Same(t, "looks", len(d.looks.List()), looks)
	apptest.Same(t, "gets", len(d.gets.List()), len(results))
}

func TestWaitTask_AHintForWhatNobodyWaitsForCostsNothing(t *testing.T) {
	onDesk(t, func(t *testing.T, d *desk) {
		d.open(1)
		id := d.task()
		d.hint(id)
		d.hint()
		apptest.Pass(time.Minute)

		apptest.Same(t, "looks", len(d.looks.List()), 0)
	})
}

func TestWaitTask_BoundsItsCallers(t *testing.T) {
	onDesk(t, func(t *testing.T, d *desk) {
		d.open(2)
		id := d.task()
		first, second := d.waits(t.Context(), id, time.Second), d.waits(t.Context(), id, time.Minute)

		_ = apptest.WantCode(t, (<-d.waits(t.Context(), id, time.Minute)).err, domain.CodeUnavailable)

		apptest.Pass(time.Second)
		d.want(first, domain.StatusProcessing, time.Second)
		third := d.waits(t.Context(), id, time.Second)
		apptest.Same(t, "answers", len(third), 0)
		d.stop()
		d.want(second, domain.StatusProcessing, time.Second)
		d.want(third, domain.StatusProcessing, 0)
	})
}

// A look that began before a change was made answers after it.
func TestWaitTask_ALookThatIsStaleTakesNobodyBack(t *testing.T) {
	onDesk(t, func(t *testing.T, d *desk) {
		id := d.task()
		stale, err := d.store.Get(t.Context(), id)
		apptest.Must(t, err)
		d.Tasks.EXPECT().GetMany(apptest.Any, id).Return([]*domain.Task{stale}, nil)
		d.open(1)
		apptest.Must(t, d.store.Change(id, func(task *domain.Task) error { return task.RequestStop(apptest.Now()) }))
		waits := d.waits(t.Context(), id, time.Minute)
		d.hint(id)
		apptest.Pass(waitGather)

		d.stop()

		got := <-waits
		apptest.Must(t, got.err)
		apptest.Same(t, "version", got.task.Version(), stale.Version()+1)
	})
}

func TestWaitTask_GoesOnWhenALookFails(t *testing.T) {
	onDesk(t, func(t *testing.T, d *desk) {
		d.Tasks.EXPECT().Versions(apptest.Any, apptest.Any).Return(nil, domain.ErrUnavailable)
		d.Events.EXPECT().Turn(apptest.Any, application.LoopWait, domain.ErrUnavailable)
		d.open(1)
		id := d.task()
		waits := d.waits(t.Context(), id, time.Minute)
		d.complete(id)

		apptest.Pass(2 * waitLook)

		d.want(waits, domain.StatusCompleted, 2*waitLook)
	})
}

func TestWaitTask_ListensAgainWhenTheConnectionIsLost(t *testing.T) {
	onDesk(t, func(t *testing.T, d *desk) {
		var tries apptest.Record[time.Time]
		d.Signals.EXPECT().Listen(apptest.Any, apptest.Any, apptest.Any).DoAndReturn(
			func(context.Context, func(), func(application.Signal)) error {
				tries.Add(apptest.Now())
				return domain.ErrUnavailable
			}).Times(3)
		d.Events.EXPECT().Turn(apptest.Any, application.LoopListen, domain.ErrUnavailable).Times(3)
		d.Events.EXPECT().Turn(apptest.Any, application.LoopListen, nil)
		d.open(1)
		apptest.Pass(waitLook - time.Millisecond)
		apptest.Same(t, "tries", len(tries.List()), 3)
		id := d.task()
		waits := d.waits(t.Context(), id, time.Minute)
		apptest.Pass(10 * time.Millisecond)
		d.complete(id)
		d.hint(id)

		apptest.Pass(waitGather)

		d.want(waits, domain.StatusCompleted, 10*time.Millisecond+waitGather)
	})
}
