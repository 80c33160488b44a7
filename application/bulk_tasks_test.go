package application_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/mock/gomock"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

func bulkTasks(p *ports) *application.BulkTasks {
	return application.NewBulkTasks(p.search, p.bulks, p.clock)
}

func TestBulkTasks_StoresTheActionForAllThatThereAreAndNoneThatComes(t *testing.T) {
	p, before := newPorts(t), newTask(t).ID()
	filter := application.TaskFilter{Queues: []domain.QueueName{"mail"}}
	for _, action := range []application.BulkAction{application.BulkCancel, application.BulkStop, application.BulkRetry} {
		var stored application.Bulk
		p.bulks.EXPECT().Add(anyArg, anyArg).DoAndReturn(func(_ context.Context, b application.Bulk) error {
			stored = b
			return nil
		})

		b, err := bulkTasks(p).Run(t.Context(), application.BulkTasksInput{Action: action, Filter: filter})

		must(t, err)
		alike(t, "the stored action", stored, b)
		same(t, "action", b.Action, action)
		alike(t, "filter", b.Filter, filter)
		same(t, "nothing done yet", b.DoneAt.IsZero() && b.Changed == 0 && b.Skipped == 0, true)
		if after := newTask(t).ID(); byID(before, b.Cursor) >= 0 || byID(b.Cursor, after) >= 0 {
			t.Errorf("the cursor %s is not between what was and what comes: %s, %s", b.Cursor, before, after)
		}
		same(t, "id", b.ID.String(), b.Cursor.String())
	}
}

func TestBulkTasks_RefusesWhatIsNoActionAndABadFilter(t *testing.T) {
	for name, c := range map[string]struct {
		in     application.BulkTasksInput
		fields []string
	}{
		"NoAction":      {application.BulkTasksInput{}, []string{"action"}},
		"AnotherAction": {application.BulkTasksInput{Action: "delete"}, []string{"action"}},
		"BadText": {
			application.BulkTasksInput{Action: application.BulkCancel, Filter: application.TaskFilter{Text: "a\x00"}},
			[]string{"filter/text"},
		},
		"All": {
			application.BulkTasksInput{Action: "x", Filter: application.TaskFilter{Text: "\xff", Metadata: map[string]string{"a b": ""}}},
			[]string{"action", "filter/metadata", "filter/text"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			uc := bulkTasks(newPorts(t)) // no call of a port is expected
			_, err := uc.Run(t.Context(), c.in)
			_, _, countErr := uc.Count(t.Context(), c.in)
			for _, err := range []error{err, countErr, uc.Check(c.in)} {
				wantInvalid(t, err, c.fields...)
			}
		})
	}
}

func TestBulkTasks_CountsInAWindowAndStoresNothing(t *testing.T) {
	p, filter := newPorts(t), application.TaskFilter{Text: "hello"}
	p.search.EXPECT().Count(anyArg, application.TaskQuery{TaskFilter: filter, Limit: 1, Window: application.CountWindow}).Return(17, false, nil)

	n, all, err := bulkTasks(p).Count(t.Context(), application.BulkTasksInput{Action: application.BulkRetry, Filter: filter})

	must(t, err)
	same(t, "count", n, 17)
	same(t, "all", all, false)
}

func TestBulkTasks_SaysWhatTheStoreSays(t *testing.T) {
	p, in := newPorts(t), application.BulkTasksInput{Action: application.BulkCancel}
	p.bulks.EXPECT().Add(anyArg, anyArg).Return(domain.ErrUnavailable)
	p.search.EXPECT().Count(anyArg, anyArg).Return(0, false, domain.ErrUnavailable)
	p.bulks.EXPECT().Get(anyArg, application.BulkID{1}).Return(application.Bulk{}, domain.ErrBulkNotFound)
	p.bulks.EXPECT().Get(anyArg, application.BulkID{2}).Return(application.Bulk{Changed: 5}, nil)

	_, err := bulkTasks(p).Run(t.Context(), in)
	wantError(t, err, domain.ErrUnavailable)
	_, _, err = bulkTasks(p).Count(t.Context(), in)
	wantError(t, err, domain.ErrUnavailable)
	_, err = bulkTasks(p).Get(t.Context(), application.BulkID{1})
	wantError(t, err, domain.ErrBulkNotFound)
	b, err := bulkTasks(p).Get(t.Context(), application.BulkID{2})
	must(t, err)
	same(t, "changed", b.Changed, 5)
}

func TestParseBulkID(t *testing.T) {
	const text = "0199ca94-5000-7000-8000-000000000001"
	for _, s := range []string{text, strings.ToUpper(text)} {
		id, err := application.ParseBulkID(s)
		must(t, err)
		same(t, "id", id.String(), text)
	}
	for _, s := range []string{"", "x", text + "0", "{" + text + "}"} {
		_, err := application.ParseBulkID(s)
		wantInvalid(t, err, "id")
	}
}

// stepping answers the dispatcher's steps with one action after the other, of which
// each step decides on the tasks that are given for it.
func stepping(t *testing.T, p *ports, action application.BulkAction, steps ...[]*domain.Task) {
	t.Helper()
	n := 0
	p.bulks.EXPECT().Step(anyArg, anyArg).DoAndReturn(
		func(_ context.Context, s application.BulkStep) (b application.Bulk, changed []*domain.Task, found bool, _ error) {
			same(t, "tasks to change at most", s.Limit, 200)
			same(t, "tasks to look at", s.Window, application.SearchWindow)
			same(t, "time", s.Now, now())
			b.Action = action
			if n++; n > len(steps) {
				return b, nil, false, nil
			}
			for _, task := range steps[n-1] {
				if s.Decide(b, task) == nil && task.Dirty() {
					task.MarkStored()
					changed = append(changed, task)
				}
			}
			return b, changed, true, nil
		}).Times(len(steps) + 1)
}

func idsOf(tasks ...*domain.Task) (ids []domain.TaskID) {
	for _, task := range tasks {
		ids = append(ids, task.ID())
	}
	return ids
}

func TestDispatcher_DoesABulkActionStepByStepAndTells(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for action, c := range map[application.BulkAction]struct {
			made    func(t *testing.T) *domain.Task
			signals []application.SignalKind
			pushes  bool
			status  domain.Status
		}{
			application.BulkCancel: {newTask, []application.SignalKind{application.SignalChanged}, false, domain.StatusCanceled},
			application.BulkStop: {
				taken, []application.SignalKind{application.SignalStop, application.SignalChanged}, false, domain.StatusProcessing,
			},
			application.BulkRetry: {failed, []application.SignalKind{application.SignalChanged}, true, domain.StatusPending},
		} {
			p, air := newPorts(t), newAir()
			first, second := []*domain.Task{c.made(t), c.made(t)}, []*domain.Task{c.made(t)}
			stepping(t, p, action, first, []*domain.Task{canceled(t)}, second) // the second step changes nothing
			p.signals.EXPECT().Send(anyArg).Do(air.send).AnyTimes()
			gomock.InOrder(p.events.EXPECT().Swept("bulk actions", 2), p.events.EXPECT().Swept("bulk actions", 1))
			if c.pushes {
				for _, tasks := range [][]*domain.Task{first, second} {
					p.queue.EXPECT().Push(anyArg, entriesAt(now(), tasks...)...).Return(nil)
				}
			}

			must(t, newDispatcher(p).Bulk(t.Context()))

			var want []application.Signal
			for _, ids := range [][]domain.TaskID{idsOf(first...), idsOf(second...)} {
				for _, kind := range c.signals {
					want = append(want, application.Signal{Kind: kind, Tasks: ids})
				}
			}
			alike(t, "signals", air.sent.list(), want)
			for _, task := range slices.Concat(first, second) {
				same(t, "status", task.Status(), c.status)
				same(t, "asked to stop", task.StopRequested(), action == application.BulkStop)
			}
		}
	})
}

// entriesAt are the entries of tasks in the default queue that are marked then.
func entriesAt(at time.Time, tasks ...*domain.Task) (entries []any) {
	for _, task := range tasks {
		entries = append(entries, entry(task.ID(), at))
	}
	return entries
}

func TestDispatcher_ABulkActionLeavesWhatIsInNoStateForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for action, tasks := range map[application.BulkAction][]*domain.Task{
			application.BulkCancel: {taken(t), failed(t), canceled(t)},
			application.BulkStop:   {failed(t), canceled(t)},
			application.BulkRetry:  {newTask(t), taken(t), canceled(t)},
			"delete":               {newTask(t), taken(t), failed(t), canceled(t)}, // of a later version
		} {
			p := newPorts(t) // no signal, no push and no event is expected
			stepping(t, p, action, tasks)
			must(t, newDispatcher(p).Bulk(t.Context()))
		}
	})
}

func TestDispatcher_GoesOnWithABulkActionWhenAPushFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPorts(t)
		stepping(t, p, application.BulkRetry, []*domain.Task{failed(t)}, []*domain.Task{failed(t)})
		p.signals.EXPECT().Send(anyArg).Times(2)
		p.events.EXPECT().Swept("bulk actions", 1).Times(2)
		p.queue.EXPECT().Push(anyArg, anyArg).Return(domain.ErrUnavailable).Times(2)

		must(t, newDispatcher(p).Bulk(t.Context()))
	})
}

func TestDispatcher_LooksForBulkActionsEverySecondAndTellsOfAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPorts(t)
		p.bulks.EXPECT().Step(anyArg, anyArg).Return(application.Bulk{}, nil, false, domain.ErrUnavailable).Times(3)
		p.events.EXPECT().Turn("bulk actions", domain.ErrUnavailable).Times(3)

		runFor(t, p, 3*time.Second)
	})
}
