package application

import (
	"context"
	"time"

	"github.com/millrace/millrace/domain"
)

// Events hears what happens: it is the only port through which the application tells, and
// logs, metrics, traces and statistics are made of it. NoEvents is for whoever wants some.
//
// Each thing is told once, by the process that did it, and after the commit that made it
// so; what becomes of nothing, such as a save that lost a race, is not told. A process that
// dies in between tells nothing. A commit whose answer was lost may not be told either.
// Nobody else tells of it, so that sums over all processes count nothing twice.
//
// A call must not block, nor keep or change what it is given: tasks and slices are the
// caller's. Calls come from many goroutines at once. The context is there for its values;
// it may have ended.
type Events interface {
	SubmitEvents
	AttemptEvents
	DispatchEvents
	// LoopRan: a loop has run once, with this result. Loops that fail try again.
	LoopRan(ctx context.Context, loop Loop, err error)
}

// SubmitEvents is what clients do.
type SubmitEvents interface {
	// TasksSubmitted: these are stored now, all with one call, and were not before. The
	// repeat of an idempotency key stores none and tells none.
	TasksSubmitted(ctx context.Context, tasks []*domain.Task)
	// TasksCanceled: these were pending, and a client's request has ended them, of one
	// task or of many (a call for each step of a bulk action). One that was canceled before
	// is not among them, nor one that is only asked to stop: AttemptEnded tells of its end.
	TasksCanceled(ctx context.Context, tasks []*domain.Task)
	// TasksReopened: these had failed, and a client's request has made them pending, of
	// one task or of many.
	TasksReopened(ctx context.Context, tasks []*domain.Task)
}

// AttemptEvents is what becomes of attempts. An attempt ends once: either AttemptEnded
// tells of it, in the process that stored its end, or nobody does.
type AttemptEvents interface {
	// AttemptStarting: the handler is about to be called, once per attempt. wait is how long
	// after the task was due that is, at least 0. The context that it returns, which is ctx
	// or made of it, is the one that the handler gets and that the other events of the
	// attempt in this worker come with: a trace begins here.
	AttemptStarting(ctx context.Context, t *domain.Task, wait time.Duration) context.Context
	// AttemptEnded: the end of an attempt is stored, and t shows the task after it: one
	// that has ended (domain.Status.Ended) has done so now. It is told by the worker whose
	// handler returned, or which gave the task back without having called one; by the
	// worker whose beat gave the task back; by the dispatcher that rescued it; and by the
	// embedded program that rescued it at its start.
	AttemptEnded(ctx context.Context, t *domain.Task, end AttemptEnd)
	// AttemptLost: the attempt was no longer the one that holds the task, so its
	// outcome was dropped. AttemptEnded was or will be told, by whoever took the task.
	AttemptLost(ctx context.Context, queue domain.QueueName, ref AttemptRef)
	// OutcomeRefused: the store refuses the outcome because of what is in it. A failure
	// that says so is stored instead.
	OutcomeRefused(ctx context.Context, queue domain.QueueName, ref AttemptRef, err error)
	// OutcomeUnsaved: the outcome could not be stored before the worker had to end, or
	// its failure was refused, too. The task is given back.
	OutcomeUnsaved(ctx context.Context, queue domain.QueueName, ref AttemptRef, err error)
	// HandlerPanicked: a handler panicked; the attempt has failed.
	HandlerPanicked(ctx context.Context, queue domain.QueueName, ref AttemptRef, value any, stack []byte)
	// HandlerAbandoned: a handler did not return in time after its context had
	// ended, and was left behind. AttemptEnded comes as well.
	HandlerAbandoned(ctx context.Context, queue domain.QueueName, ref AttemptRef)
	// EntryDropped: an entry was pulled that names no task.
	EntryDropped(ctx context.Context, id domain.TaskID)
}

// DispatchEvents is what the dispatcher does.
type DispatchEvents interface {
	// Swept: a step of a sweep has changed so many tasks, or has removed so many keys,
	// rows of workers or minutes of statistics; at least one. What became of each task is told apart from it.
	Swept(ctx context.Context, sweep Loop, n int)
	// DispatchLag: the sweep of due tasks has looked, every DueInterval or sooner, and the
	// task that is due for longest and not pushed has been so for that long; 0: none is due.
	DispatchLag(ctx context.Context, lag time.Duration)
	// Purged: a step of the purge has deleted n tasks whose time was over, 0 if there were
	// none. lag is how late it is: how long ago the time of the longest expired one was over
	// that its round along all tasks has met so far, deleted or not; with the end of the round,
	// that is told once more with an n of 0, of those that it has left. 0: there is none.
	Purged(ctx context.Context, n int, lag time.Duration)
	// TaskPassed: a loop could not handle a task, and went on without it.
	TaskPassed(ctx context.Context, loop Loop, id domain.TaskID, err error)
	// BulkUnreadable: a bulk action cannot be read, and is passed over.
	BulkUnreadable(ctx context.Context, id domain.BulkID, err error)
}

// AttemptEnd is how an attempt ended.
type AttemptEnd struct {
	Outcome domain.AttemptOutcome // never domain.OutcomeRunning
	Began   bool                  // its handler was called in this process: AttemptStarting came before
	Took    time.Duration         // from there until the handler returned or was abandoned; 0 unless Began
	Err     error                 // the handler's own; nil: it has none
}

// NoEvents hears nothing. Whoever embeds it implements what it wants to hear.
type NoEvents struct{}

var _ Events = NoEvents{}

// TasksSubmitted does nothing.
func (NoEvents) TasksSubmitted(context.Context, []*domain.Task) {}

// TasksCanceled does nothing.
func (NoEvents) TasksCanceled(context.Context, []*domain.Task) {}

// TasksReopened does nothing.
func (NoEvents) TasksReopened(context.Context, []*domain.Task) {}

// AttemptStarting returns ctx.
func (NoEvents) AttemptStarting(ctx context.Context, _ *domain.Task, _ time.Duration) context.Context {
	return ctx
}

// AttemptEnded does nothing.
func (NoEvents) AttemptEnded(context.Context, *domain.Task, AttemptEnd) {}

// AttemptLost does nothing.
func (NoEvents) AttemptLost(context.Context, domain.QueueName, AttemptRef) {}

// OutcomeRefused does nothing.
func (NoEvents) OutcomeRefused(context.Context, domain.QueueName, AttemptRef, error) {}

// OutcomeUnsaved does nothing.
func (NoEvents) OutcomeUnsaved(context.Context, domain.QueueName, AttemptRef, error) {}

// HandlerPanicked does nothing.
func (NoEvents) HandlerPanicked(context.Context, domain.QueueName, AttemptRef, any, []byte) {}

// HandlerAbandoned does nothing.
func (NoEvents) HandlerAbandoned(context.Context, domain.QueueName, AttemptRef) {}

// EntryDropped does nothing.
func (NoEvents) EntryDropped(context.Context, domain.TaskID) {}

// Swept does nothing.
func (NoEvents) Swept(context.Context, Loop, int) {}

// DispatchLag does nothing.
func (NoEvents) DispatchLag(context.Context, time.Duration) {}

// Purged does nothing.
func (NoEvents) Purged(context.Context, int, time.Duration) {}

// TaskPassed does nothing.
func (NoEvents) TaskPassed(context.Context, Loop, domain.TaskID, error) {}

// BulkUnreadable does nothing.
func (NoEvents) BulkUnreadable(context.Context, domain.BulkID, error) {}

// LoopRan does nothing.
func (NoEvents) LoopRan(context.Context, Loop, error) {}
