package application

import (
	"context"
	"fmt"
	"time"

	"github.com/millrace/millrace/domain"
)

// pushWait bounds how long an accepted task waits for a queue that is away: the
// answer to the client must not.
const pushWait = 2 * time.Second

// SubmitLimits are the settings that bear on a new task.
type SubmitLimits struct {
	MessageBytes int // longest message
	MaxAttempts  int // for tasks that do not say
}

// SubmitTask accepts a task.
type SubmitTask struct {
	tasks  TaskRepository
	queue  Queue
	clock  Clock
	limits SubmitLimits
}

// NewSubmitTask makes the use case.
func NewSubmitTask(tasks TaskRepository, queue Queue, clock Clock, limits SubmitLimits) *SubmitTask {
	return &SubmitTask{tasks: tasks, queue: queue, clock: clock, limits: limits}
}

// SubmitTaskInput is what a client says of the task.
type SubmitTaskInput struct {
	Message string
}

// Run stores the task, then pushes its entry. If the push fails, or a crash
// comes in between, the task is accepted all the same: the dispatcher finds it
// stranded and pushes it later.
func (uc *SubmitTask) Run(ctx context.Context, in SubmitTaskInput) (*domain.Task, error) {
	if len(in.Message) > uc.limits.MessageBytes {
		err := domain.Invalid("message", "must be at most %d bytes long, not %d", uc.limits.MessageBytes, len(in.Message))
		err.Code = domain.CodeTooLarge
		return nil, err
	}
	t, err := domain.NewTask(domain.TaskSpec{Message: in.Message, MaxAttempts: uc.limits.MaxAttempts}, uc.clock.Now())
	if err != nil {
		return nil, err
	}
	if err := uc.tasks.Add(ctx, t); err != nil {
		return nil, fmt.Errorf("store task %s: %w", t.ID(), err)
	}
	push(ctx, uc.queue, t)
	return t, nil
}

// push puts tasks that are marked as queued on the queue, as well as it can. A
// client that hangs up now has a task all the same. A failure is no failure of
// the caller's: the dispatcher makes up for it, and the decorator of Queue logs it.
func push(ctx context.Context, queue Queue, tasks ...*domain.Task) {
	if len(tasks) == 0 {
		return
	}
	entries := make([]Entry, len(tasks))
	for i, t := range tasks {
		entries[i] = EntryOf(t)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pushWait)
	defer cancel()
	_ = queue.Push(ctx, entries...)
}
