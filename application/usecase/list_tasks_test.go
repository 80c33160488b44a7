package usecase_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/usecase"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/apptest"
)

func TestGetTask_ReturnsTheTaskAsItIs(t *testing.T) {
	p, task := apptest.NewPorts(t), apptest.NewTask(t)
	p.Tasks.EXPECT().Get(apptest.Any, task.ID()).Return(task, nil)

	got, err := usecase.NewGetTask(p.Tasks).Run(t.Context(), task.ID())

	apptest.Must(t, err)
	apptest.Same(t, "task", got, task)
}

func TestGetTask_SaysThatThereIsNone(t *testing.T) {
	p := apptest.NewPorts(t)
	p.Tasks.EXPECT().Get(apptest.Any, apptest.Any).Return(nil, domain.ErrTaskNotFound)

	_, err := usecase.NewGetTask(p.Tasks).Run(t.Context(), apptest.NewTask(t).ID())

	apptest.WantError(t, err, domain.ErrTaskNotFound)
}

func TestListTasks_TellsWhetherThereIsMore(t *testing.T) {
	for name, c := range map[string]struct {
		limit, stored, want int
		more                bool
	}{
		"Fewer":       {limit: 3, stored: 2, want: 2},
		"JustSoMany":  {limit: 3, stored: 3, want: 3},
		"OneTooMany":  {limit: 3, stored: 4, want: 3, more: true},
		"ByDefault":   {limit: 0, stored: 60, want: usecase.DefaultPageSize, more: true},
		"TheLongest":  {limit: usecase.MaxPageSize, stored: 2000, want: usecase.MaxPageSize, more: true},
		"TheShortest": {limit: 1, stored: 2, want: 1, more: true},
		"None":        {limit: 3},
	} {
		t.Run(name, func(t *testing.T) {
			p, stored := apptest.NewPorts(t), apptest.NewTasks(t, c.stored)
			p.Search.EXPECT().List(apptest.Any, apptest.Any).DoAndReturn(func(_ context.Context, q application.TaskQuery) (application.SearchResult, error) {
				return application.SearchResult{Tasks: stored[:min(q.Limit, len(stored))]}, nil
			})

			page, err := usecase.NewListTasks(p.Search).Run(t.Context(), application.TaskQuery{Limit: c.limit})

			apptest.Must(t, err)
			want := domain.TaskID{}
			if c.more {
				want = stored[c.want-1].ID()
			}
			apptest.Same(t, "next", page.Next, want)
			apptest.Same(t, "window", page.Window, 0)
			if !slices.Equal(page.Tasks, stored[:c.want]) {
				t.Errorf("got %d tasks, want the first %d", len(page.Tasks), c.want)
			}
		})
	}
}

func TestListTasks_PassesOnWhatItIsAskedFor(t *testing.T) {
	p, below := apptest.NewPorts(t), apptest.NewTask(t).ID()
	failedOnly := domain.TaskFilter{Statuses: []domain.Status{domain.StatusFailed}}
	p.Search.EXPECT().List(apptest.Any, application.TaskQuery{
		TaskFilter: failedOnly, Before: below, Limit: 11, Bytes: application.PageBytes, Window: application.SearchWindow,
	}).Return(application.SearchResult{}, nil)

	_, err := usecase.NewListTasks(p.Search).Run(t.Context(), application.TaskQuery{
		TaskFilter: failedOnly, Before: below, Limit: 10,
	})

	apptest.Must(t, err)
}

func TestListTasks_RefusesALimitOutOfBounds(t *testing.T) {
	for _, limit := range []int{-1, usecase.MaxPageSize + 1} {
		_, err := usecase.NewListTasks(apptest.NewPorts(t).Search).Run(t.Context(), application.TaskQuery{Limit: limit})

		apptest.Same(t, "field", apptest.WantCode(t, err, domain.CodeInvalid).Fields[0].Field, "limit")
	}
}

func TestListTasks_SaysThatTheStoreIsAway(t *testing.T) {
	p := apptest.NewPorts(t)
	p.Search.EXPECT().List(apptest.Any, apptest.Any).Return(application.SearchResult{}, domain.ErrUnavailable)

	_, err := usecase.NewListTasks(p.Search).Run(t.Context(), application.TaskQuery{})

	apptest.WantError(t, err, domain.ErrUnavailable)
}

func TestListTasks_LooksAtFewerTasksIfItMustReadThem(t *testing.T) {
	for text, window := range map[string]int{"": application.SearchWindow, "hello": application.TextWindow} {
		p := apptest.NewPorts(t)
		p.Search.EXPECT().List(apptest.Any, apptest.Any).DoAndReturn(func(_ context.Context, q application.TaskQuery) (application.SearchResult, error) {
			apptest.Same(t, "window", q.Window, window)
			return application.SearchResult{}, nil
		})

		page, err := usecase.NewListTasks(p.Search).Run(t.Context(), application.TaskQuery{TaskFilter: domain.TaskFilter{Text: text}})

		apptest.Must(t, err)
		apptest.Same(t, "the window of a page that is the last", page.Window, 0)
	}
}

func TestListTasks_SaysWhereTheSearchStoppedAndThatItDid(t *testing.T) {
	end := apptest.NewTask(t).ID()
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
			p, found := apptest.NewPorts(t), apptest.NewTasks(t, c.found)
			p.Search.EXPECT().List(apptest.Any, apptest.Any).Return(application.SearchResult{Tasks: found, End: end}, nil)

			page, err := usecase.NewListTasks(p.Search).Run(t.Context(), application.TaskQuery{Limit: 3})

			apptest.Must(t, err)
			apptest.Same(t, "next", page.Next, c.next(found))
			apptest.Same(t, "window", page.Window, c.window)
			apptest.Same(t, "tasks", len(page.Tasks), min(c.found, 3))
		})
	}
}

func TestListTasks_RefusesAFilterThatNoStoreCanLookFor(t *testing.T) {
	queues := make([]domain.QueueName, domain.MaxFilterQueues+1)
	for field, filter := range map[string]domain.TaskFilter{
		"queue":      {Queues: queues},
		"metadata/a": {Metadata: map[string]string{"a": "\x00"}},
		"text":       {Text: "a\xff"},
	} {
		_, err := usecase.NewListTasks(apptest.NewPorts(t).Search).Run(t.Context(), application.TaskQuery{TaskFilter: filter})
		wantInvalid(t, err, field)
	}
	for text, takes := range map[string]bool{
		"": true,
		strings.Repeat("x", domain.MaxFilterText):   true,
		strings.Repeat("x", domain.MaxFilterText+1): false,
		"a\x00b": false,
	} {
		p := apptest.NewPorts(t)
		if takes {
			p.Search.EXPECT().List(apptest.Any, apptest.Any).Return(application.SearchResult{}, nil)
		}
		_, err := usecase.NewListTasks(p.Search).Run(t.Context(), application.TaskQuery{TaskFilter: domain.TaskFilter{Text: text}})
		if takes {
			apptest.Must(t, err)
		} else {
			wantInvalid(t, err, "text")
		}
	}
}

// errSlow is what a store says of a call that took too long.
var errSlow = apptest.ErrTookTooLong

func TestListTasks_EndsByBytesWithoutAWindow(t *testing.T) {
	p, stored := apptest.NewPorts(t), apptest.NewTasks(t, 2)
	p.Search.EXPECT().List(apptest.Any, apptest.Any).DoAndReturn(func(_ context.Context, q application.TaskQuery) (application.SearchResult, error) {
		apptest.Same(t, "bytes", q.Bytes, application.PageBytes)
		return application.SearchResult{Tasks: stored, End: stored[1].ID(), Full: true}, nil
	})

	page, err := usecase.NewListTasks(p.Search).Run(t.Context(), application.TaskQuery{})

	apptest.Must(t, err)
	apptest.Same(t, "next", page.Next, stored[1].ID())
	apptest.Same(t, "window", page.Window, 0)
}

func TestListTasks_RepeatsWhatTakesTooLongInASmallerWindow(t *testing.T) {
	refused := fmt.Errorf("%w: connection refused", domain.ErrUnavailable)
	end := apptest.NewTask(t).ID()
	for name, c := range map[string]struct {
		answers []error // one after the other
		window  int     // of the page
		want    error
	}{
		"ThenItIsInTime":     {[]error{errSlow, nil}, application.TextWindow / 50, nil},
		"ThatIsTooMuchToo":   {[]error{errSlow, errSlow, nil}, 0, domain.ErrTooMuch},
		"TheStoreIsAway":     {[]error{errSlow, errSlow, errSlow}, 0, domain.ErrUnavailable},
		"AnOutageIsNoExcuse": {[]error{refused}, 0, domain.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			p, windows := apptest.NewPorts(t), []int{application.TextWindow, application.TextWindow / 50, 1}
			calls := 0
			p.Search.EXPECT().List(apptest.Any, apptest.Any).Times(len(c.answers)).DoAndReturn(func(_ context.Context, q application.TaskQuery) (application.SearchResult, error) {
				apptest.Same(t, "window", q.Window, windows[calls])
				calls++
				return application.SearchResult{End: end}, c.answers[calls-1]
			})

			page, err := usecase.NewListTasks(p.Search).Run(t.Context(), application.TaskQuery{TaskFilter: domain.TaskFilter{Text: "x"}})

			apptest.WantError(t, err, c.want)
			apptest.Same(t, "window of the page", page.Window, c.window)
			apptest.Same(t, "an outage", errors.Is(err, domain.ErrUnavailable), c.want == domain.ErrUnavailable)
		})
	}
}

func TestBulkTasks_SaysWhenACountIsTooMuch(t *testing.T) {
	for _, probe := range []error{nil, errSlow} {
		p := apptest.NewPorts(t)
		p.Search.EXPECT().Count(apptest.Any, apptest.Any).Return(0, false, errSlow)
		p.Search.EXPECT().List(apptest.Any, apptest.Any).Return(application.SearchResult{}, probe)

		_, _, err := bulkTasks(p).Count(t.Context(), usecase.BulkTasksInput{Action: domain.BulkCancel, Filter: domain.TaskFilter{Text: "x"}})

		apptest.Same(t, "too much", errors.Is(err, domain.ErrTooMuch), probe == nil)
		apptest.Same(t, "an outage", errors.Is(err, domain.ErrUnavailable), probe != nil)
	}
}
