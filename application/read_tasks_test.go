package application_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

func TestGetTask_ReturnsTheTaskAsItIs(t *testing.T) {
	p, task := newPorts(t), newTask(t)
	p.tasks.EXPECT().Get(anyArg, task.ID()).Return(task, nil)

	got, err := application.NewGetTask(p.tasks).Run(t.Context(), task.ID())

	must(t, err)
	same(t, "task", got, task)
}

func TestGetTask_SaysThatThereIsNone(t *testing.T) {
	p := newPorts(t)
	p.tasks.EXPECT().Get(anyArg, anyArg).Return(nil, domain.ErrTaskNotFound)

	_, err := application.NewGetTask(p.tasks).Run(t.Context(), newTask(t).ID())

	wantError(t, err, domain.ErrTaskNotFound)
}

// tasksOf makes n tasks.
func tasksOf(t *testing.T, n int) []*domain.Task {
	t.Helper()
	tasks := make([]*domain.Task, n)
	for i := range tasks {
		tasks[i] = newTask(t)
	}
	return tasks
}

func TestListTasks_TellsWhetherThereIsMore(t *testing.T) {
	for name, c := range map[string]struct {
		limit, stored, want int
		more                bool
	}{
		"Fewer":       {limit: 3, stored: 2, want: 2},
		"JustSoMany":  {limit: 3, stored: 3, want: 3},
		"OneTooMany":  {limit: 3, stored: 4, want: 3, more: true},
		"ByDefault":   {limit: 0, stored: 60, want: application.DefaultPageSize, more: true},
		"TheLongest":  {limit: application.MaxPageSize, stored: 2000, want: application.MaxPageSize, more: true},
		"TheShortest": {limit: 1, stored: 2, want: 1, more: true},
		"None":        {limit: 3},
	} {
		t.Run(name, func(t *testing.T) {
			p, stored := newPorts(t), tasksOf(t, c.stored)
			p.search.EXPECT().List(anyArg, anyArg).DoAndReturn(func(_ context.Context, q application.TaskQuery) (application.TaskList, error) {
				return application.TaskList{Tasks: stored[:min(q.Limit, len(stored))]}, nil
			})

			page, err := application.NewListTasks(p.search).Run(t.Context(), application.TaskQuery{Limit: c.limit})

			must(t, err)
			want := domain.TaskID{}
			if c.more {
				want = stored[c.want-1].ID()
			}
			same(t, "next", page.Next, want)
			same(t, "window", page.Window, 0)
			if !slices.Equal(page.Tasks, stored[:c.want]) {
				t.Errorf("got %d tasks, want the first %d", len(page.Tasks), c.want)
			}
		})
	}
}

func TestListTasks_PassesOnWhatItIsAskedFor(t *testing.T) {
	p, below := newPorts(t), newTask(t).ID()
	failedOnly := application.TaskFilter{Statuses: []domain.Status{domain.StatusFailed}}
	p.search.EXPECT().List(anyArg, application.TaskQuery{
		TaskFilter: failedOnly, Before: below, Limit: 11, Window: application.SearchWindow,
	}).Return(application.TaskList{}, nil)

	_, err := application.NewListTasks(p.search).Run(t.Context(), application.TaskQuery{
		TaskFilter: failedOnly, Before: below, Limit: 10,
	})

	must(t, err)
}

func TestListTasks_RefusesALimitOutOfBounds(t *testing.T) {
	for _, limit := range []int{-1, application.MaxPageSize + 1} {
		_, err := application.NewListTasks(newPorts(t).search).Run(t.Context(), application.TaskQuery{Limit: limit})

		same(t, "field", wantCode(t, err, domain.CodeInvalid).Fields[0].Field, "limit")
	}
}

func TestListTasks_SaysThatTheStoreIsAway(t *testing.T) {
	p := newPorts(t)
	p.search.EXPECT().List(anyArg, anyArg).Return(application.TaskList{}, domain.ErrUnavailable)

	_, err := application.NewListTasks(p.search).Run(t.Context(), application.TaskQuery{})

	wantError(t, err, domain.ErrUnavailable)
}

func TestListTasks_LooksAtFewerTasksIfItMustReadThem(t *testing.T) {
	for text, window := range map[string]int{"": application.SearchWindow, "hello": application.TextWindow} {
		p := newPorts(t)
		p.search.EXPECT().List(anyArg, anyArg).DoAndReturn(func(_ context.Context, q application.TaskQuery) (application.TaskList, error) {
			same(t, "window", q.Window, window)
			return application.TaskList{}, nil
		})

		page, err := application.NewListTasks(p.search).Run(t.Context(), application.TaskQuery{TaskFilter: application.TaskFilter{Text: text}})

		must(t, err)
		same(t, "the window of a page that is the last", page.Window, 0)
	}
}

func TestListTasks_SaysWhereTheSearchStoppedAndThatItDid(t *testing.T) {
	end := newTask(t).ID()
	for name, c := range map[string]struct {
		found  int
		next   func(found []*domain.Task) domain.TaskID
		window int
	}{
		"NothingFound":      {0, func([]*domain.Task) domain.TaskID { return end }, application.SearchWindow},
		"LessThanAPage":     {2, func([]*domain.Task) domain.TaskID { return end }, application.SearchWindow},
		"JustAPage":         {3, func([]*domain.Task) domain.TaskID { return end }, application.SearchWindow},
		"MoreThanFitInPage": {4, func(found []*domain.Task) domain.TaskID { return found[2].ID() }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			p, found := newPorts(t), tasksOf(t, c.found)
			p.search.EXPECT().List(anyArg, anyArg).Return(application.TaskList{Tasks: found, End: end}, nil)

			page, err := application.NewListTasks(p.search).Run(t.Context(), application.TaskQuery{Limit: 3})

			must(t, err)
			same(t, "next", page.Next, c.next(found))
			same(t, "window", page.Window, c.window)
			same(t, "tasks", len(page.Tasks), min(c.found, 3))
		})
	}
}

func TestListTasks_RefusesAFilterThatNoStoreCanLookFor(t *testing.T) {
	queues := make([]domain.QueueName, application.MaxFilterQueues+1)
	for field, filter := range map[string]application.TaskFilter{
		"queue":    {Queues: queues},
		"metadata": {Metadata: map[string]string{"a": "\x00"}},
		"text":     {Text: "a\xff"},
	} {
		_, err := application.NewListTasks(newPorts(t).search).Run(t.Context(), application.TaskQuery{TaskFilter: filter})
		wantInvalid(t, err, field)
	}
	for text, takes := range map[string]bool{
		"": true,
		strings.Repeat("x", application.MaxFilterText):   true,
		strings.Repeat("x", application.MaxFilterText+1): false,
		"a\x00b": false,
	} {
		p := newPorts(t)
		if takes {
			p.search.EXPECT().List(anyArg, anyArg).Return(application.TaskList{}, nil)
		}
		_, err := application.NewListTasks(p.search).Run(t.Context(), application.TaskQuery{TaskFilter: application.TaskFilter{Text: text}})
		if takes {
			must(t, err)
		} else {
			wantInvalid(t, err, "text")
		}
	}
}
