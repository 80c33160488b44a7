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
	// AddOnce does that unless the key is remembered, and remembers it with the
	// tasks' ids until k.Expires, in the same transaction. For a key that is
	// remembered it stores nothing and returns the tasks that were stored with it,
	// as they are now and in order, or domain.ErrKeyReused if the request was
	// another one. It waits for a twin that is under way. A key that has expired
	// by k.Now is as good as forgotten.
	AddOnce(ctx context.Context, k IdempotencyKey, tasks ...*domain.Task) (first []*domain.Task, err error)
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
	// Save stores t if the stored version is the one that t was loaded at, together
	// with t.EndedAttempts. Otherwise it stores nothing and returns
	// domain.ErrConflict, or domain.ErrTaskNotFound if there is no such task.
	Save(ctx context.Context, t *domain.Task) error
	// Claim makes those of the ids that are pending and marked as queued the
	// worker's, as domain.Task.Claim does, and returns them in the order of ids.
	// Any other id is left out: no error. It waits for whoever is changing one of
	// them. Of many claims of one task one gets it. A worker whose heartbeat is not
	// younger than two of its beats gets domain.ErrWorkerStale, and no task.
	//
	// Of a queue that is Limited no more tasks are claimed than its
	// domain.QueueState.Room allows, in the order of ids, one claim of the queue at a
	// time: the claim holds the queue's settings until it is committed, and says in
	// Limited what there was no room for.
	Claim(ctx context.Context, c ClaimRequest) (Claimed, error)
}

// MaxAttemptRecords bounds what Attempts returns.
const MaxAttemptRecords = 1000

// IdempotencyKey is a client's name for a request that it may repeat.
type IdempotencyKey struct {
	Owner       string // the name of the credential that sent it; empty: none was needed
	Key         string // 1 to 255 visible ASCII characters
	Fingerprint [32]byte
	Now         time.Time
	Expires     time.Time
}

// ClaimRequest is a worker's wish to have tasks.
type ClaimRequest struct {
	domain.Claim
	IDs []domain.TaskID
	Now time.Time
}

// Claimed is what came of a claim.
type Claimed struct {
	Tasks   []*domain.Task
	Limited []LimitedQueue // every limited queue that has tasks among those asked for
}

// LimitedQueue is what a claim met in a queue that is limited.
type LimitedQueue struct {
	Name    domain.QueueName
	Refused []domain.TaskID // for want of room, in the order of the request
	Room    domain.Room     // left after the claim
}

// TaskSearch finds tasks. The cost of a search is bounded however many tasks there
// are: it looks at no more than so many of them.
type TaskSearch interface {
	// List returns tasks that match, newest first: by id, downwards.
	List(ctx context.Context, q TaskQuery) (TaskList, error)
	// Count counts what matches among the latest q.Window tasks that it looks at,
	// and reports whether that was all there are. q.Limit does not matter.
	Count(ctx context.Context, q TaskQuery) (n int, all bool, err error)
}

// TaskFilter says which tasks are meant. What is empty does not matter.
type TaskFilter struct {
	Statuses       []domain.Status    // any of these
	Queues         []domain.QueueName // any of these
	CreatedFrom    time.Time          // inclusive
	CreatedBefore  time.Time          // exclusive
	FinishedFrom   time.Time          // inclusive
	FinishedBefore time.Time          // exclusive
	Metadata       map[string]string  // all of these pairs
	Text           string             // in the message, as it is written
}

// TaskQuery says which tasks to list.
type TaskQuery struct {
	TaskFilter
	Before domain.TaskID // only ids below this one; zero: from the newest
	Limit  int           // at most so many; at least 1
	Window int           // look at most at so many; at least 1
}

// TaskList is what a search has found.
type TaskList struct {
	Tasks []*domain.Task
	// End is where the search stopped because it had looked at as many tasks as it
	// may: all matches at or above it are in Tasks. Zero: it has seen everything, or
	// found as many as it was to.
	End domain.TaskID
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
	Queues   []domain.QueueName // that it takes tasks from
	Capacity int                // tasks at once
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
	// NextDue returns the earliest time at which a task that is pending and not
	// marked is to run; false if there is none. It locks nothing.
	NextDue(ctx context.Context) (time.Time, bool, error)
	// Stranded: pending, of the list, and marked before the given time; the oldest
	// mark first.
	Stranded(ctx context.Context, l List, before time.Time, b SweepBatch) (Swept, error)
	// QueuedBefore returns the lists for which Stranded would find any. It locks
	// nothing.
	QueuedBefore(ctx context.Context, before time.Time) ([]List, error)
	// Abandoned: processing, held by a worker that is unknown or whose heartbeat is
	// older than the lease, all judged at once in the time of the store. Nothing
	// is found while the judge's own heartbeat is older than two of its beats, or
	// has had a gap over two beats within the last three: after an outage of the
	// store every heartbeat is old and no one is dead.
	Abandoned(ctx context.Context, j Judge, b SweepBatch) (Swept, error)
	// ForgetKeys removes at most limit idempotency keys that have expired by now,
	// and returns how many they were.
	ForgetKeys(ctx context.Context, now time.Time, limit int) (int, error)
}

// QueueRepository is the record of the queues: what is set of them, and how many
// tasks wait.
type QueueRepository interface {
	// List returns the queues, by name, that were ever set up, that have a task
	// which waits or runs, or that a live worker takes: at most MaxQueues of them.
	// A worker lives on for BeatsPerLease of its own intervals after its last beat.
	// The cost does not grow with the tasks that have ended.
	List(ctx context.Context) ([]QueueInfo, error)
	// Get does so for one queue, or returns domain.ErrQueueNotFound.
	Get(ctx context.Context, name domain.QueueName) (QueueInfo, error)
	// Change lets decide change what is set of a queue, of which nothing need be
	// set yet, and stores it. It waits for a claim that holds the queue.
	Change(ctx context.Context, name domain.QueueName, decide func(q *domain.QueueState) error) error
	// Ahead counts the tasks that are pulled before t, a task that is marked as
	// queued: those of its queue with a higher priority, or the same and an earlier
	// mark. It stops at limit.
	Ahead(ctx context.Context, t *domain.Task, limit int) (int, error)
}

// MaxQueues bounds a list of queues.
const MaxQueues = 1000

// QueueInfo is a queue as an operator sees it.
type QueueInfo struct {
	domain.QueueState
	Pending    int // may run, and wait for a worker
	Scheduled  int // wait for their time: delayed, or to be tried again
	Processing int
	Oldest     time.Time // since when the longest waiting of the pending waits; zero: none does
	Workers    int       // that live and take it
}

// BulkRepository is the record of the actions on many tasks.
type BulkRepository interface {
	// Add stores a new bulk action.
	Add(ctx context.Context, b Bulk) error
	// Get returns it, or domain.ErrBulkNotFound.
	Get(ctx context.Context, id BulkID) (Bulk, error)
	// Step takes the oldest action that is not done and that nobody else is at, lists
	// what matches next, lets decide change each task, and stores what changed
	// together with the action's progress in one transaction. What decide refuses, or
	// leaves as it is, counts as skipped, and so does a task that cannot be read. It
	// waits for whoever is changing one of the tasks, and leaves out what does not
	// match any more. found is false if there is no action to be done.
	Step(ctx context.Context, s BulkStep) (b Bulk, changed []*domain.Task, found bool, err error)
}

// BulkStep bounds one step of a bulk action.
type BulkStep struct {
	Limit  int // tasks to change at most
	Window int // tasks to look at, at most
	Decide func(b Bulk, t *domain.Task) error
	Now    time.Time
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

// List is where entries wait: each queue has one for every priority.
type List struct {
	Queue    domain.QueueName
	Priority int
}

// Entry is a hint on the queue: this task is ready. A hint may be lost, doubled
// or stale; the claim decides.
type Entry struct {
	List
	ID       domain.TaskID
	QueuedAt time.Time // when the task was marked as queued
}

// EntryOf is the hint for a task that is marked as queued.
func EntryOf(t *domain.Task) Entry {
	s := t.State()
	return Entry{List: List{Queue: s.Queue, Priority: s.Priority}, ID: s.ID, QueuedAt: s.QueuedAt}
}

// Queue carries hints, list by list, each first in, first out. It may lose or
// double them.
type Queue interface {
	// Push appends the entries to their lists, in order.
	Push(ctx context.Context, entries ...Entry) error
	// PutBack puts entries that were pulled at the head of their lists again, in
	// order: the first of a list is its head.
	PutBack(ctx context.Context, entries ...Entry) error
	// Pull takes entries from the head of the first list that has any. When there
	// was none for the time that p allows, at most a few seconds, it returns none
	// and no error: a Pull that takes longer than 10 s hangs. When ctx ends, it
	// returns what it has already taken, or ctx's error: entries are not lost on a
	// stop.
	Pull(ctx context.Context, p PullRequest) ([]Entry, error)
	// Oldest returns, of those of the lists that have entries, when the one at the
	// head was marked.
	Oldest(ctx context.Context, lists ...List) (map[List]time.Time, error)
	// Length counts the entries of a list.
	Length(ctx context.Context, l List) (int, error)
}

// PullRequest says what to pull.
type PullRequest struct {
	Queues []domain.QueueName // in this order; within a queue the highest priority first; at least one
	Max    int                // entries, at least 1
	Wait   time.Duration      // for an entry, at most; the adapter may wait for less. 0: do not wait
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
