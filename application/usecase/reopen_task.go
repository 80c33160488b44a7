package usecase

import (
	"context"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// ReopenTask gives a failed task another life.
type ReopenTask struct {
	tasks   application.TaskRepository
	queue   application.Queue
	signals application.Signals
	clock   application.Clock
	events  application.SubmitEvents
}

// NewReopenTask makes the use case.
func NewReopenTask(
	tasks application.TaskRepository, queue application.Queue, signals application.Signals, clock application.Clock, events application.Events,
) *ReopenTask {
	return &ReopenTask{tasks: tasks, queue: queue, signals: signals, clock: clock, events: events}
}

// ReopenTaskInput says which task to reopen.
type ReopenTaskInput struct {
	ID domain.TaskID
	If Precondition
}

// Run makes a failed task pending again with fresh budgets, then pushes it; as
// with a new task, a push that fails is made up for by the dispatcher. A task of
// any other status is a conflict that names it.
func (uc *ReopenTask) Run(ctx context.Context, in ReopenTaskInput) (*domain.Task, error) {
	t, _, err := change(ctx, uc.tasks, in.ID, guarded(in.If, func(t *domain.Task) error { return t.Reopen(uc.clock.Now()) }))
	if err != nil {
		return nil, err
	}
	uc.events.TasksReopened(ctx, []*domain.Task{t})
	application.Enqueue(ctx, uc.queue, t)
	uc.signals.Send(application.Signal{Kind: application.SignalChanged, Tasks: []domain.TaskID{in.ID}})
	return t, nil
}
