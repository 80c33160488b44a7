package application

//go:generate go tool -modfile=../tools/go.mod mockgen -typed -source=ports.go -destination=mocks/ports.go -package=mocks

import (
	"context"
	"time"

	"github.com/millrace/millrace/domain"
)

// Every port is safe for concurrent use. A port that cannot reach its server,
// or does not know what became of a write, returns domain.ErrUnavailable,
// wrapped; ctx ends every wait. contract.* in test/contract are the suites that
// an implementation has to pass.

// TaskRepository is the record of every task, and the only truth about it.
type TaskRepository interface {
	// Add stores new tasks, all or none, and returns after the commit.
	Add(ctx context.Context, tasks ...*domain.Task) error
	// Get returns the task, or domain.ErrTaskNotFound.
	Get(ctx context.Context, id domain.TaskID) (*domain.Task, error)
	// GetMany returns those of the tasks that there are, in no particular order.
	GetMany(ctx context.Context, ids ...domain.TaskID) ([]*domain.Task, error)
	// Versions returns the version of each of the tasks that there are: a look that
	// costs the same however long messages and results are.
	Versions(ctx context.Context, ids ...domain.TaskID) (map[domain.TaskID]int64, error)
	// Attempts returns the recorded attempts of the task, by number: those that
	// ended without success, at most the latest MaxAttemptRecords. A task that is
	// unknown has none.
	Attempts(ctx context.Context, id domain.TaskID) ([]domain.Attempt, error)
	// List returns the tasks that match, newest first: by id, downwards.
	List(ctx context.Context, q TaskQuery) ([]*domain.Task, error)
	// Save stores t if the stored version is the one that t was loaded at, together
	// with t.EndedAttempts. Otherwise it stores nothing and returns
	// domain.ErrConflict, or domain.ErrTaskNotFound if there is no such task.
	Save(ctx context.Context, t *domain.Task) error
	// Claim makes those of the ids that are pending and marked as queued the
	// worker's, as domain.Task.Claim does, and returns them in the order of ids.
	// Any other id is left out: no error. It waits for whoever is changing one of
	// them. Of many claims of one task one gets it. A worker whose heartbeat is not
	// younger than two of its beats gets domain.ErrWorkerStale, and no task.
	Claim(ctx context.Context, c ClaimRequest) ([]*domain.Task, error)
}

// MaxAttemptRecords bounds what Attempts returns.
const MaxAttemptRecords = 1000

// TaskQuery says which tasks to list.
type TaskQuery struct {
	Statuses []domain.Status // any of these; none: all
	Before   domain.TaskID   // only ids below this one; zero: from the newest
	Limit    int             // at most so many; at least 1
}

// ClaimRequest is a worker's wish to have tasks.
type ClaimRequest struct {
	domain.Claim
	IDs []domain.TaskID
	Now time.Time
}

// WorkerRepository is the record of the workers: one row each, whose heartbeat
// is the lease of all that the worker holds.
type WorkerRepository interface {
	// Beat renews the worker's lease, in the time of the store, and registers the
	// worker at its first beat. A beat with a lower number than one that was seen
	// before renews nothing. Then, whatever the number:
	//   - tasks that the worker owns, that the beat does not list and that were
	//     claimed under a lower number are given back by b.Release: the answer to
	//     their claim was lost;
	//   - tasks that the beat lists as running although their deadline has passed
	//     are given back by b.TimeOut.
	// Rows that somebody else is changing are left to the next beat.
	Beat(ctx context.Context, b Beat) (BeatAnswer, error)
	// Leave forgets a worker that holds nothing any more. One that still owns
	// tasks stays, so that its lease lapses and they are rescued.
	Leave(ctx context.Context, id domain.WorkerID) error
	// Forget removes the workers whose heartbeat is older than silentFor, in the
	// time of the store, and that own no task, and returns how many they were. One
	// that was silent and lives registers again with its next beat.
	Forget(ctx context.Context, silentFor time.Duration) (int, error)
}

// Decide changes a task, or returns an error and leaves it as it is.
type Decide func(t *domain.Task) error

// Beat is what a worker says of itself every Interval. It lists all that the
// worker holds: what is on no list is not held.
type Beat struct {
	Worker   WorkerInfo
	Number   int64           // counts the worker's beats, from 1
	Interval time.Duration   // how often the worker beats
	Claiming []domain.TaskID // in a claim whose answer is not there yet: any attempt
	Held     []HeldAttempt   // claimed and waiting, running, or returned and not yet saved
	Release  Decide
	TimeOut  Decide
}

// WorkerInfo describes one life of a worker to operators.
type WorkerInfo struct {
	ID       domain.WorkerID
	Host     string
	PID      int
	Version  string
	Started  time.Time
	Capacity int // tasks at once
	Running  int
}

// AttemptRef names an attempt of a task.
type AttemptRef struct {
	Task    domain.TaskID
	Attempt int
}

// HeldAttempt is an attempt that a worker holds.
type HeldAttempt struct {
	AttemptRef
	Running bool // its handler has not returned
}

// BeatAnswer says which of the listed attempts are not the worker's any more,
// and which it is asked to stop.
type BeatAnswer struct {
	Lost []AttemptRef
	Stop []AttemptRef
}

// DispatchRepository answers the dispatcher's questions. Each method locks a
// batch, passing over what another transaction has locked, lets decide change
// each task, stores those that it changed, and returns them after the commit. A
// task that decide refuses, or that cannot be read, is left as it is and named
// in Passed: it does not stop the rest.
type DispatchRepository interface {
	// Due: pending, not marked, to run at or before now; the longest due first.
	Due(ctx context.Context, now time.Time, b SweepBatch) (Swept, error)
	// Stranded: pending and marked before the given time; the oldest mark first.
	Stranded(ctx context.Context, before time.Time, b SweepBatch) (Swept, error)
	// AnyQueuedBefore reports whether Stranded would find any. It locks nothing.
	AnyQueuedBefore(ctx context.Context, before time.Time) (bool, error)
	// Abandoned: processing, held by a worker that is unknown or whose heartbeat is
	// older than the lease, all judged at once in the time of the store. Nothing
	// is found while the judge's own heartbeat is older than two of its beats, or
	// has had a gap over two beats within the last three: after an outage of the
	// store every heartbeat is old and no one is dead.
	Abandoned(ctx context.Context, j Judge, b SweepBatch) (Swept, error)
}

// Judge is the worker in whose name leases are judged.
type Judge struct {
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

// Swept is what one step of a sweep has done. A step that found fewer tasks than
// its limit was the last.
type Swept struct {
	Found   int
	Changed []*domain.Task
	Passed  map[domain.TaskID]error
}

// Entry is a hint on the queue: this task is ready. A hint may be lost, doubled
// or stale; the claim decides.
type Entry struct {
	ID       domain.TaskID
	QueuedAt time.Time // when the task was marked as queued
}

// EntryOf is the hint for a task that is marked as queued.
func EntryOf(t *domain.Task) Entry { return Entry{ID: t.ID(), QueuedAt: t.State().QueuedAt} }

// Queue carries hints, first in, first out. It may lose or double them.
type Queue interface {
	// Push appends the entries, in order.
	Push(ctx context.Context, entries ...Entry) error
	// Pull takes at most n entries from the head, waiting until there is one. When
	// there was none for a few seconds it returns none and no error: a Pull that
	// takes longer than 10 s hangs. When ctx ends, it returns what it has already
	// taken, or ctx's error: entries are not lost on a stop.
	Pull(ctx context.Context, n int) ([]Entry, error)
	// Oldest returns when the entry at the head was marked; false if there is none.
	Oldest(ctx context.Context) (time.Time, bool, error)
	// Length counts the entries.
	Length(ctx context.Context) (int, error)
}

// Signal is a hint that passes between processes: look at these tasks again. It
// says nothing of what there is to see.
type Signal struct {
	Kind  SignalKind
	Tasks []domain.TaskID
}

// SignalKind says whom a signal concerns.
type SignalKind string

// The kinds of signals.
const (
	SignalChanged SignalKind = "changed" // whoever waits for the task
	SignalStop    SignalKind = "stop"    // the worker that runs it
)

// Signals carries signals to every process that listens, the sender included. It
// may lose, double or delay them: whoever listens also looks from time to time.
type Signals interface {
	// Send hands the signal on. It does not wait for anybody to hear it, nor for
	// a server: a signal that cannot be sent soon is lost.
	Send(s Signal)
	// Listen calls hear for every signal that arrives, one at a time, until ctx ends
	// or the connection is lost, and returns ctx's error or that of the connection.
	// It calls ready first, once signals that are sent from then on arrive.
	Listen(ctx context.Context, ready func(), hear func(Signal)) error
}

// Clock tells the time: UTC, whole microseconds. Processes that share a store
// agree on it to within a tenth of a second.
type Clock interface {
	Now() time.Time
}

// Handler does the work of a task.
type Handler interface {
	// Handle processes the task and returns what the task keeps as its result: text,
	// of which domain.MaxResult bytes are kept. An error is tried again later, unless
	// it is Permanent; RetryAfter says when. Handle should return soon after ctx has
	// ended: the deadline has passed, the task is to stop, or the worker ends. What
	// it did by then may be done again by another attempt, which the task's id and
	// attempt let it notice. It is safe for concurrent use.
	Handle(ctx context.Context, t *domain.Task) (result string, err error)
}

// Probe tells whether something that a program needs answers.
type Probe interface {
	Probe(ctx context.Context) error
}

// Events hears what happens in the loops of a worker, for logs and metrics. A
// call must not block.
type Events interface {
	// EntryDropped: an entry was pulled that names no task.
	EntryDropped(id domain.TaskID)
	// AttemptStarted: a handler was called.
	AttemptStarted(t *domain.Task)
	// AttemptEnded: the outcome is stored and t shows it; err is the handler's.
	AttemptEnded(t *domain.Task, took time.Duration, err error)
	// AttemptLost: the attempt was no longer the one that holds the task, so its
	// outcome was dropped.
	AttemptLost(ref AttemptRef)
	// OutcomeUnsaved: the outcome could not be stored before the worker had to end;
	// the task will be rescued.
	OutcomeUnsaved(ref AttemptRef, err error)
	// HandlerPanicked: a handler panicked; the attempt has failed.
	HandlerPanicked(ref AttemptRef, value any, stack []byte)
	// HandlerAbandoned: a handler did not return in time after its context had
	// ended, and was left behind.
	HandlerAbandoned(ref AttemptRef)
	// Swept: a sweep of the dispatcher has changed so many tasks.
	Swept(sweep string, n int)
	// TaskPassed: a sweep could not handle a task, and went on.
	TaskPassed(sweep string, id domain.TaskID, err error)
	// Turn: a loop has made a turn, with this result. Loops that fail try again.
	Turn(loop string, err error)
}
