package application_test

import (
	"context"
	"testing"
	"time"

	"github.com/millrace/millrace/application"
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

		same(t, "looks", len(d.looks.list()), 0)
	})
}

func TestWaitTask_AnswersOnAHint(t *testing.T) {
	onDesk(t, func(t *testing.T, d *desk) {
		d.open(10)
		id, other := d.task(), d.task()
		waits, others := d.waits(t.Context(), id, time.Minute), d.waits(t.Context(), other, time.Minute)
		pass(waitLook / 2)
		d.complete(id)
		d.hint(id)
		pass(waitGather)

		d.want(waits, domain.StatusCompleted, waitLook/2+waitGather)
		select {
		case <-others:
			t.Error("who waits for another task was answered")
		default:
		}
		same(t, "tasks looked at", d.looks.last(), 1)
		d.stop()
		d.want(others, domain.StatusProcessing, waitLook/2+waitGather)
	})
}

func TestWaitTask_WaitsOnWhenAHintTellsOfAnotherChange(t *testing.T) {
	onDesk(t, func(t *testing.T, d *desk) {
		d.open(1)
		id := d.task()
		waits := d.waits(t.Context(), id, time.Second)
		must(t, d.store.change(id, func(task *domain.Task) error { return task.RequestStop(now()) }))
		d.hint(id)
		pass(waitGather)
		same(t, "looks", len(d.looks.list()), 1)
		same(t, "answers", len(waits), 0)

		pass(time.Second)

		d.want(waits, domain.StatusProcessing, time.Second)
	})
}

func TestWaitTask_FindsByItselfWhatAHintHasLost(t *testing.T) {
	onDesk(t, func(t *testing.T, d *desk) {
		d.open(1)
		pass(waitLook / 2)
		id := d.task()
		waits := d.waits(t.Context(), id, time.Minute)
		d.complete(id)

		pass(waitLook / 2)

		d.want(waits, domain.StatusCompleted, waitLook/2)
		before := len(d.looks.list())
		pass(5 * waitLook)
		same(t, "looks while nobody waits", len(d.looks.list())-before, 0)
	})
}

// Messages and results may be long: they are read when there is news, and not
// for as long as somebody waits.
func TestWaitTask_ReadsNoTaskThatHasNotChanged(t *testing.T) {
	onDesk(t, func(t *testing.T, d *desk) {
		d.open(1)
		id := d.task()
		waits := d.waits(t.Context(), id, time.Minute)
		pass(10 * waitLook)
		same(t, "looks", len(d.looks.list()), 0)
		must(t, d.store.change(id, func(task *domain.Task) error { return task.RequestStop(now()) }))
		pass(5 * waitLook)
		same(t, "looks after a change", len(d.looks.list()), 1)
		d.complete(id)
		pass(waitLook)

		d.want(waits, domain.StatusCompleted, 16*waitLook)
	})
}

func TestWaitTask_AnswersWithTheStateAtTheEndOfItsTime(t *testing.T) {
	onDesk(t, func(t *testing.T, d *desk) {
		d.open(1)
		id := d.task()
		waits := d.waits(t.Context(), id, waitLook-1)
		must(t, d.store.change(id, func(task *domain.Task) error { return task.RequestStop(now()) }))

		pass(waitLook - 1)

		got := <-waits
		must(t, got.err)
		same(t, "waited", got.took, waitLook-1)
		same(t, "the last change is seen", got.task.StopRequested(), true)
	})
}

func TestWaitTask_SaysThatTheStoreIsAway(t *testing.T) {
	t.Run("AtTheStart", func(t *testing.T) {
		onDesk(t, func(t *testing.T, d *desk) {
			d.tasks.EXPECT().Get(anyArg, anyArg).Return(nil, domain.ErrUnavailable)
			d.open(1)

			wantError(t, (<-d.waits(t.Context(), d.task(), time.Minute)).err, domain.ErrUnavailable)
		})
	})
	t.Run("AtTheEnd", func(t *testing.T) {
		onDesk(t, func(t *testing.T, d *desk) {
			id := d.task()
			there, err := d.store.get(t.Context(), id)
			must(t, err)
			d.tasks.EXPECT().Get(anyArg, id).Return(there, nil)
			d.tasks.EXPECT().Get(anyArg, id).Return(nil, domain.ErrUnavailable)
			d.open(1)
			waits := d.waits(t.Context(), id, time.Second)

			pass(time.Second)

			wantError(t, (<-waits).err, domain.ErrUnavailable)
		})
	})
}

func TestWaitTask_SaysThatThereIsNoSuchTask(t *testing.T) {
	onDesk(t, func(t *testing.T, d *desk) {
		d.open(1)

		wantError(t, (<-d.waits(t.Context(), newTask(t).ID(), time.Minute)).err, domain.ErrTaskNotFound)
	})
}

func TestWaitTask_EndsWithItsCaller(t *testing.T) {
	onDesk(t, func(t *testing.T, d *desk) {
		d.open(1)
		ctx, hangUp := context.WithCancel(t.Context())
		waits := d.waits(ctx, d.task(), time.Minute)
		pass(time.Second)

		hangUp()

		d.want(waits, domain.StatusProcessing, time.Second)
		same(t, "tasks still waited for", d.wait.Waiting(), 0)
	})
}

func TestWaitTask_EndsWithTheProgram(t *testing.T) {
	onDesk(t, func(t *testing.T, d *desk) {
		d.open(10)
		waits, hinted := d.waits(t.Context(), d.task(), time.Minute), d.task()
		second := d.waits(t.Context(), hinted, time.Minute)
		pass(time.Second)
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
		d.tasks.EXPECT().Versions(anyArg, anyArg).DoAndReturn(func(ctx context.Context, _ ...domain.TaskID) (map[domain.TaskID]int64, error) {
			return nil, untilEnded(ctx)
		})
		d.open(10)
		short, long := d.waits(t.Context(), d.task(), 2*waitLook), d.waits(t.Context(), d.task(), time.Minute)
		pass(2 * waitLook)
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
	pass(waitGather)
	seen := map[*domain.Task]bool{}
	for _, result := range results {
		got := <-result
		must(t, got.err)
		same(t, "status", got.task.Status(), domain.StatusCompleted)
		same(t, "waited", got.took, waitGather)
		seen[got.task] = true
	}
	same(t, "tasks of their own", len(seen), len(results))
	same(t, "looks", len(d.looks.list()), looks)
	same(t, "gets", len(d.gets.list()), len(results))
}

func TestWaitTask_AHintForWhatNobodyWaitsForCostsNothing(t *testing.T) {
	onDesk(t, func(t *testing.T, d *desk) {
		d.open(1)
		id := d.task()
		d.hint(id)
		d.hint()
		pass(time.Minute)

		same(t, "looks", len(d.looks.list()), 0)
	})
}

func TestWaitTask_BoundsItsCallers(t *testing.T) {
	onDesk(t, func(t *testing.T, d *desk) {
		d.open(2)
		id := d.task()
		first, second := d.waits(t.Context(), id, time.Second), d.waits(t.Context(), id, time.Minute)

		_ = wantCode(t, (<-d.waits(t.Context(), id, time.Minute)).err, domain.CodeUnavailable)

		pass(time.Second)
		d.want(first, domain.StatusProcessing, time.Second)
		third := d.waits(t.Context(), id, time.Second)
		same(t, "answers", len(third), 0)
		d.stop()
		d.want(second, domain.StatusProcessing, time.Second)
		d.want(third, domain.StatusProcessing, 0)
	})
}

// A look that began before a change was made answers after it.
func TestWaitTask_ALookThatIsStaleTakesNobodyBack(t *testing.T) {
	onDesk(t, func(t *testing.T, d *desk) {
		id := d.task()
		stale, err := d.store.get(t.Context(), id)
		must(t, err)
		d.tasks.EXPECT().GetMany(anyArg, id).Return([]*domain.Task{stale}, nil)
		d.open(1)
		must(t, d.store.change(id, func(task *domain.Task) error { return task.RequestStop(now()) }))
		waits := d.waits(t.Context(), id, time.Minute)
		d.hint(id)
		pass(waitGather)

		d.stop()

		got := <-waits
		must(t, got.err)
		same(t, "version", got.task.Version(), stale.Version()+1)
	})
}

func TestWaitTask_GoesOnWhenALookFails(t *testing.T) {
	onDesk(t, func(t *testing.T, d *desk) {
		d.tasks.EXPECT().Versions(anyArg, anyArg).Return(nil, domain.ErrUnavailable)
		d.events.EXPECT().Turn("look at tasks that are waited for", domain.ErrUnavailable)
		d.open(1)
		id := d.task()
		waits := d.waits(t.Context(), id, time.Minute)
		d.complete(id)

		pass(2 * waitLook)

		d.want(waits, domain.StatusCompleted, 2*waitLook)
	})
}

func TestWaitTask_ListensAgainWhenTheConnectionIsLost(t *testing.T) {
	onDesk(t, func(t *testing.T, d *desk) {
		var tries record[time.Time]
		d.signals.EXPECT().Listen(anyArg, anyArg, anyArg).DoAndReturn(
			func(context.Context, func(), func(application.Signal)) error {
				tries.add(now())
				return domain.ErrUnavailable
			}).Times(3)
		d.events.EXPECT().Turn("listen to signals", domain.ErrUnavailable).Times(3)
		d.events.EXPECT().Turn("listen to signals", nil)
		d.open(1)
		pass(waitLook - time.Millisecond)
		same(t, "tries", len(tries.list()), 3)
		id := d.task()
		waits := d.waits(t.Context(), id, time.Minute)
		pass(10 * time.Millisecond)
		d.complete(id)
		d.hint(id)

		pass(waitGather)

		d.want(waits, domain.StatusCompleted, 10*time.Millisecond+waitGather)
	})
}
