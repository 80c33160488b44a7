package usecase

import (
	"context"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// DeleteTask removes a task that has ended.
type DeleteTask struct {
	tasks   application.TaskRepository
	signals application.Signals
}

// NewDeleteTask makes the use case.
func NewDeleteTask(tasks application.TaskRepository, signals application.Signals) *DeleteTask {
	return &DeleteTask{tasks: tasks, signals: signals}
}

// DeleteTaskInput says which task to delete.
type DeleteTaskInput struct {
	ID domain.TaskID
	If Precondition
}

// Run removes the task with all that is recorded of it, but for its idempotency key: a
// request that is repeated must not make a second task. A task that has not ended is
// domain.CodeConflict, also if it was reopened meanwhile; one that is not there, or was
// deleted meanwhile, is domain.ErrTaskNotFound. If the queue has an entry of it left, of a
// task that was canceled, whoever pulls it drops it: it names no task.
func (uc *DeleteTask) Run(ctx context.Context, in DeleteTaskInput) error {
	if _, _, err := change(ctx, uc.tasks, in.ID, guarded(in.If, (*domain.Task).Delete)); err != nil {
		return err
	}
	uc.signals.Send(application.Signal{Kind: application.SignalChanged, Tasks: []domain.TaskID{in.ID}})
	return nil
}
