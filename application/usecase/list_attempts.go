package usecase

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// ListAttempts tells what became of each attempt of a task.
type ListAttempts struct{ tasks application.TaskRepository }

// NewListAttempts makes the use case.
func NewListAttempts(tasks application.TaskRepository) *ListAttempts {
	return &ListAttempts{tasks: tasks}
}

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
