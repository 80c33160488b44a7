package usecase

import (
	"context"
	"fmt"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// GetTask looks a task up.
type GetTask struct{ tasks application.TaskRepository }

// NewGetTask makes the use case.
func NewGetTask(tasks application.TaskRepository) *GetTask { return &GetTask{tasks: tasks} }

// Run returns the task as it is now, or domain.ErrTaskNotFound.
func (uc *GetTask) Run(ctx context.Context, id domain.TaskID) (*domain.Task, error) {
	t, err := uc.tasks.Get(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("get task %s: %w", id, err)
	}
	return t, nil
}
