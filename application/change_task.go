package application

import (
	"context"
	"errors"
	"fmt"

	"github.com/millrace/millrace/domain"
)

// maxReloads bounds how often a decision is taken again because somebody else
// changed the task first. Each lost race means that another change went through.
const maxReloads = 10

// change loads a task, lets decide change it and stores it. When the save meets
// a newer version it loads and decides again, so that a caller gets a conflict
// only if the task as it is now does not allow the change. What decide leaves
// as it was is not stored.
func change(ctx context.Context, tasks TaskRepository, id domain.TaskID, decide Decide) (*domain.Task, error) {
	for range maxReloads {
		t, err := tasks.Get(ctx, id)
		if err != nil {
			return nil, fmt.Errorf("get task %s: %w", id, err)
		}
		if err := decide(t); err != nil {
			return nil, err
		}
		if t.Version() == t.StoredVersion() {
			return t, nil
		}
		err = tasks.Save(ctx, t)
		if err == nil {
			return t, nil
		}
		if !errors.Is(err, domain.ErrConflict) {
			return nil, fmt.Errorf("save task %s: %w", id, err)
		}
	}
	return nil, fmt.Errorf("save task %s: %w", id, domain.ErrConflict)
}

// CancelTask cancels a task that waits.
type CancelTask struct {
	tasks TaskRepository
	clock Clock
}

// NewCancelTask makes the use case.
func NewCancelTask(tasks TaskRepository, clock Clock) *CancelTask {
	return &CancelTask{tasks: tasks, clock: clock}
}

// Run cancels the task. A canceled one is returned as it is; one that is neither
// pending nor canceled is a conflict that names its status. The entry stays on
// the queue: whoever pulls it cannot claim the task.
func (uc *CancelTask) Run(ctx context.Context, id domain.TaskID) (*domain.Task, error) {
	return change(ctx, uc.tasks, id, func(t *domain.Task) error { return t.Cancel(uc.clock.Now()) })
}

// ReopenTask gives a failed task another life.
type ReopenTask struct {
	tasks TaskRepository
	queue Queue
	clock Clock
}

// NewReopenTask makes the use case.
func NewReopenTask(tasks TaskRepository, queue Queue, clock Clock) *ReopenTask {
	return &ReopenTask{tasks: tasks, queue: queue, clock: clock}
}

// Run makes a failed task pending again with fresh budgets, then pushes it; as
// with a new task, a push that fails is made up for by the dispatcher. A task of
// any other status is a conflict that names it.
func (uc *ReopenTask) Run(ctx context.Context, id domain.TaskID) (*domain.Task, error) {
	t, err := change(ctx, uc.tasks, id, func(t *domain.Task) error { return t.Reopen(uc.clock.Now()) })
	if err != nil {
		return nil, err
	}
	push(ctx, uc.queue, t)
	return t, nil
}
