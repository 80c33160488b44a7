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

// The bounds of a page.
const (
	DefaultPageSize = 50
	MaxPageSize     = 1000
)

// ListTasks pages through tasks, newest first.
type ListTasks struct{ tasks TaskRepository }

// NewListTasks makes the use case.
func NewListTasks(tasks TaskRepository) *ListTasks { return &ListTasks{tasks: tasks} }

// TaskPage is a part of a list.
type TaskPage struct {
	Tasks []*domain.Task
	More  bool // the next page starts below the last task's id
}

// Run returns a page. A Limit of 0 means DefaultPageSize; one that is out of
// bounds is domain.CodeInvalid. Tasks that arrive while a client pages do not
// move what it has yet to see.
func (uc *ListTasks) Run(ctx context.Context, q TaskQuery) (TaskPage, error) {
	if q.Limit == 0 {
		q.Limit = DefaultPageSize
	}
	if q.Limit < 1 || q.Limit > MaxPageSize {
		return TaskPage{}, domain.Invalid("limit", "must be from 1 to %d, not %d", MaxPageSize, q.Limit)
	}
	want := q.Limit
	q.Limit++ // one more tells whether there is a next page
	tasks, err := uc.tasks.List(ctx, q)
	if err != nil {
		return TaskPage{}, fmt.Errorf("list tasks: %w", err)
	}
	if len(tasks) > want {
		return TaskPage{Tasks: tasks[:want], More: true}, nil
	}
	return TaskPage{Tasks: tasks}, nil
}
