package application

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/millrace/millrace/domain"
)

// GetTask looks a task up.
type GetTask struct{ tasks TaskRepository }

// NewGetTask makes the use case.
func NewGetTask(tasks TaskRepository) *GetTask { return &GetTask{tasks: tasks} }

// Run returns the task as it is now, or domain.ErrTaskNotFound.
func (uc *GetTask) Run(ctx context.Context, id domain.TaskID) (*domain.Task, error) {
	t, err := uc.tasks.Get(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("get task %s: %w", id, err)
	}
	return t, nil
}

// ListAttempts tells what became of each attempt of a task.
type ListAttempts struct{ tasks TaskRepository }

// NewListAttempts makes the use case.
func NewListAttempts(tasks TaskRepository) *ListAttempts { return &ListAttempts{tasks: tasks} }

// Run returns the task's attempts in order, the one that runs included, or
// domain.ErrTaskNotFound. Of very many only the latest MaxAttemptRecords are kept
// in view.
func (uc *ListAttempts) Run(ctx context.Context, id domain.TaskID) ([]domain.Attempt, error) {
	// The task first: an attempt that ends in between is then listed by its record,
	// and not by the task any more.
	t, err := uc.tasks.Get(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("get task %s: %w", id, err)
	}
	attempts, err := uc.tasks.Attempts(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("list attempts of task %s: %w", id, err)
	}
	latest, ok := t.LatestAttempt()
	recorded := slices.ContainsFunc(attempts, func(a domain.Attempt) bool { return a.Number == latest.Number })
	if ok && !recorded {
		attempts = append(attempts, latest)
		slices.SortFunc(attempts, func(a, b domain.Attempt) int { return cmp.Compare(a.Number, b.Number) })
	}
	return attempts, nil
}

// The bounds of a page, and of the search for it.
const (
	DefaultPageSize = 50
	MaxPageSize     = 1000
	// SearchWindow is how many tasks are looked at for a page, and TextWindow how
	// many if that means to read their messages: what is asked for may be rare.
	SearchWindow = 20_000
	TextWindow   = 5_000
)

// ListTasks pages through tasks, newest first.
type ListTasks struct{ search TaskSearch }

// NewListTasks makes the use case.
func NewListTasks(search TaskSearch) *ListTasks { return &ListTasks{search: search} }

// TaskPage is a part of a list.
type TaskPage struct {
	Tasks []*domain.Task
	Next  domain.TaskID // the next page has what is below it; zero: this one is the last
	// Window is how many tasks were looked at, if the search stopped for that
	// before the page was full; otherwise 0.
	Window int
}

// Run returns a page. A Limit of 0 means DefaultPageSize; one that is out of
// bounds, or a filter that is, is domain.CodeInvalid. Tasks that arrive while a client pages do not
// move what it has yet to see.
func (uc *ListTasks) Run(ctx context.Context, q TaskQuery) (TaskPage, error) {
	if q.Limit == 0 {
		q.Limit = DefaultPageSize
	}
	if q.Limit < 1 || q.Limit > MaxPageSize {
		return TaskPage{}, domain.Invalid("limit", "must be from 1 to %d, not %d", MaxPageSize, q.Limit)
	}
	if err := q.check(); err != nil {
		return TaskPage{}, err
	}
	want := q.Limit
	q.Limit++ // one more tells whether there is a next page
	q.Window = SearchWindow
	if q.Text != "" {
		q.Window = TextWindow
	}
	found, err := uc.search.List(ctx, q)
	if err != nil {
		return TaskPage{}, fmt.Errorf("list tasks: %w", err)
	}
	if len(found.Tasks) > want {
		return TaskPage{Tasks: found.Tasks[:want], Next: found.Tasks[want-1].ID()}, nil
	}
	page := TaskPage{Tasks: found.Tasks, Next: found.End}
	if found.End != (domain.TaskID{}) {
		page.Window = q.Window
	}
	return page, nil
}
