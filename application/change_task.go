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

// Precondition says whether a task is as the caller has seen it. nil: it need not be.
type Precondition func(t *domain.Task) bool

// guarded is decide, after the precondition: whoever acts on what they have seen
// is told first that it is no more so.
func guarded(is Precondition, decide Decide) Decide {
	return func(t *domain.Task) error {
		if is != nil && !is(t) {
			return domain.ErrChanged
		}
		return decide(t)
	}
}

// CancelTask cancels a task that waits, or asks one that runs to stop.
type CancelTask struct {
	tasks   TaskRepository
	signals Signals
	clock   Clock
}

// NewCancelTask makes the use case.
func NewCancelTask(tasks TaskRepository, signals Signals, clock Clock) *CancelTask {
	return &CancelTask{tasks: tasks, signals: signals, clock: clock}
}

// CancelTaskInput says which task to cancel, and how.
type CancelTaskInput struct {
	ID   domain.TaskID
	Stop bool // also if it runs
	If   Precondition
}

// Run cancels the task. A canceled one is returned as it is; one that is neither
// pending nor canceled is a conflict that names its status. The entry stays on
// the queue: whoever pulls it cannot claim the task.
//
// With Stop, a task that runs is asked to stop, which is a change of its row: no
// worker has to be there to be told. The worker that runs it hears of it by its
// next beat, and usually at once, by a hint. The task is returned as it is then:
// processing, with StopRequestedAt set.
func (uc *CancelTask) Run(ctx context.Context, in CancelTaskInput) (*domain.Task, error) {
	t, err := change(ctx, uc.tasks, in.ID, guarded(in.If, func(t *domain.Task) error {
		if in.Stop {
			return t.RequestStop(uc.clock.Now())
		}
		return t.Cancel(uc.clock.Now())
	}))
	if err != nil {
		return nil, err
	}
	if !t.Status().Ended() {
		uc.signals.Send(Signal{Kind: SignalStop, Tasks: []domain.TaskID{in.ID}})
	}
	uc.signals.Send(Signal{Kind: SignalChanged, Tasks: []domain.TaskID{in.ID}})
	return t, nil
}

// ReopenTask gives a failed task another life.
type ReopenTask struct {
	tasks   TaskRepository
	queue   Queue
	signals Signals
	clock   Clock
}

// NewReopenTask makes the use case.
func NewReopenTask(tasks TaskRepository, queue Queue, signals Signals, clock Clock) *ReopenTask {
	return &ReopenTask{tasks: tasks, queue: queue, signals: signals, clock: clock}
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
	t, err := change(ctx, uc.tasks, in.ID, guarded(in.If, func(t *domain.Task) error { return t.Reopen(uc.clock.Now()) }))
	if err != nil {
		return nil, err
	}
	push(ctx, uc.queue, t)
	uc.signals.Send(Signal{Kind: SignalChanged, Tasks: []domain.TaskID{in.ID}})
	return t, nil
}
