package application

import (
	"context"
	"time"

	"github.com/millrace/millrace/domain"
)

// Events hears what happens in the loops of a worker, for logs and metrics. A
// call must not block.
type Events interface {
	// EntryDropped: an entry was pulled that names no task.
	EntryDropped(ctx context.Context, id domain.TaskID)
	// AttemptStarted: a handler was called.
	AttemptStarted(ctx context.Context, t *domain.Task)
	// AttemptEnded: the outcome is stored and t shows it; err is the handler's.
	AttemptEnded(ctx context.Context, t *domain.Task, took time.Duration, err error)
	// AttemptLost: the attempt was no longer the one that holds the task, so its
	// outcome was dropped.
	AttemptLost(ctx context.Context, ref AttemptRef)
	// OutcomeRefused: the store refuses the outcome because of what is in it. A failure
	// that says so is stored instead.
	OutcomeRefused(ctx context.Context, ref AttemptRef, err error)
	// OutcomeUnsaved: the outcome could not be stored before the worker had to end, or
	// its failure was refused, too. The task is given back.
	OutcomeUnsaved(ctx context.Context, ref AttemptRef, err error)
	// HandlerPanicked: a handler panicked; the attempt has failed.
	HandlerPanicked(ctx context.Context, ref AttemptRef, value any, stack []byte)
	// HandlerAbandoned: a handler did not return in time after its context had
	// ended, and was left behind.
	HandlerAbandoned(ctx context.Context, ref AttemptRef)
	// Swept: a sweep of the dispatcher has changed so many tasks.
	Swept(ctx context.Context, sweep Loop, n int)
	// Purged: the purge has deleted so many tasks, and this is how late it is: for how long
	// the longest expired of those that it has met in its walk were expired. It is told of
	// every step, with 0 if it has deleted none.
	Purged(ctx context.Context, n int, late time.Duration)
	// TaskPassed: a loop could not handle a task, and went on without it.
	TaskPassed(ctx context.Context, loop Loop, id domain.TaskID, err error)
	// BulkUnreadable: a bulk action cannot be read, and is passed over.
	BulkUnreadable(ctx context.Context, id domain.BulkID, err error)
	// LoopRan: a loop has run once, with this result. Loops that fail try again.
	LoopRan(ctx context.Context, loop Loop, err error)
}

// Experience notes what work has experienced, for readiness.
type Experience interface {
	// Note notes a result of a loop or of a kind of call: an error means that it could
	// not do its work, and nil that it has done some.
	Note(loop Loop, err error)
}

// Loop names a loop or a kind of call, in events, logs and readiness.
type Loop string

// The kinds of calls of clients.
const (
	CallSubmit Loop = "submit"
	CallChange Loop = "change"
	CallRead   Loop = "read"
)

// The loops. A sweep of the dispatcher is a loop, too.
const (
	LoopPull      Loop = "pull"
	LoopClaim     Loop = "claim"
	LoopStart     Loop = "start" // of handlers
	LoopSave      Loop = "save"
	LoopHeartbeat Loop = "heartbeat"
	LoopGiveBack  Loop = "give_back" // the part of a beat that is not the renewal
	LoopLeave     Loop = "leave"
	LoopListen    Loop = "listen"
	LoopWait      Loop = "wait"
	SweepDue      Loop = "due"
	SweepStranded Loop = "stranded"
	SweepOrphaned Loop = "orphaned"
	SweepWorkers  Loop = "workers"
	SweepKeys     Loop = "keys"
	SweepBulk     Loop = "bulk"
	SweepPurge    Loop = "purge"
)
