package application

import (
	"context"
	"time"

	"github.com/millrace/millrace/domain"
)

// DispatchRepository answers the dispatcher's questions. Each method locks a
// batch, passing over what another transaction has locked, applies decide to
// each task, stores those that it changed, and returns them after the commit. A
// task that decide or the store refuses, or that cannot be read, is left as it is and
// named in Passed: it does not stop the rest. The tasks come as
// domain.RestoreWithoutTexts makes them: a step costs the same however long messages are.
type DispatchRepository interface {
	// Due: pending, not marked, to run at or before now; the longest due first.
	Due(ctx context.Context, now time.Time, b SweepBatch) (SweepResult, error)
	// NextDue returns the earliest time at which a task that is pending and not
	// marked is to run; false if there is none. A time that cannot be read comes as the
	// nearest that can. It locks nothing.
	NextDue(ctx context.Context) (time.Time, bool, error)
	// Stranded: pending, of one of the lanes, and marked before the time that is given
	// for it; of a lane the oldest mark first.
	Stranded(ctx context.Context, before map[Lane]time.Time, b SweepBatch) (SweepResult, error)
	// QueuedBefore returns the lanes with tasks that were marked before the given time,
	// and the oldest mark of each. It locks nothing.
	QueuedBefore(ctx context.Context, before time.Time) (map[Lane]time.Time, error)
	// AcquireSweep reports whether the worker has a sweep, which one does for all, for
	// itself: for d from now; who has it may acquire it again. It saves work, and nothing
	// depends on it: when in doubt, every worker has the sweep. It waits for no lock.
	AcquireSweep(ctx context.Context, sweep Loop, w domain.WorkerID, d time.Duration) (bool, error)
	// ReleaseSweep gives the sweep up, if the worker has it.
	ReleaseSweep(ctx context.Context, sweep Loop, w domain.WorkerID) error
	// Orphaned: processing, held by a worker that is unknown or whose heartbeat is
	// older than the lease, all judged at once in the time of the store. Nothing is
	// found unless the observer's own heartbeat says domain.Heartbeat.MayObserve: after
	// an outage of the store every heartbeat is old and no worker is dead. A worker whose
	// row another transaction has locked is not judged: its beats wait behind that lock.
	Orphaned(ctx context.Context, j Observer, b SweepBatch) (SweepResult, error)
	// ForgetKeys removes at most limit idempotency keys that have expired by now,
	// and returns how many they were.
	ForgetKeys(ctx context.Context, now time.Time, limit int) (int, error)
}

// Observer is the worker in whose name leases are judged.
type Observer struct {
	Worker   domain.WorkerID
	Interval time.Duration // of its beat
	Lease    time.Duration // a heartbeat older than this has lapsed
}

// SweepBatch bounds one step of a sweep.
type SweepBatch struct {
	Limit  int
	Except []domain.TaskID // passed over in earlier steps of this sweep
	Decide Decide
}

// SweepResult is what one step of a sweep has done. A step that found fewer tasks than
// its limit was the last.
type SweepResult struct {
	Found   int
	Changed []*domain.Task
	Passed  map[domain.TaskID]error
}

// How often the dispatcher looks for what is due, and for what is stranded.
const (
	DueInterval      = 500 * time.Millisecond
	StrandedInterval = 3 * time.Second
)
