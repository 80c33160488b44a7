package usecase

import (
	"context"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// CancelTask cancels a task that waits, or asks one that runs to stop.
type CancelTask struct {
	tasks   application.TaskRepository
	signals application.Signals
	clock   application.Clock
	events  application.SubmitEvents
}

// NewCancelTask makes the use case.
func NewCancelTask(tasks application.TaskRepository, signals application.Signals, clock application.Clock, events application.Events) *CancelTask {
	return &CancelTask{tasks: tasks, signals: signals, clock: clock, events: events}
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
	t, changed, err := change(ctx, uc.tasks, in.ID, guarded(in.If, func(t *domain.Task) error {
		if in.Stop {
			return t.RequestStop(uc.clock.Now())
		}
		return t.Cancel(uc.clock.Now())
	}))
	if err != nil {
		return nil, err
	}
	if changed && t.Status() == domain.StatusCanceled {
		uc.events.TasksCanceled(ctx, []*domain.Task{t})
	}
	if !t.Status().Ended() {
		uc.signals.Send(application.Signal{Kind: application.SignalStop, Tasks: []domain.TaskID{in.ID}})
	}
	uc.signals.Send(application.Signal{Kind: application.SignalChanged, Tasks: []domain.TaskID{in.ID}})
	return t, nil
}
