package application

import (
	"context"
	"time"

	"github.com/millrace/millrace/domain"
)

// WorkerRepository is the record of the workers: one row each, whose heartbeat
// is the lease of all that the worker holds.
type WorkerRepository interface {
	// Beat renews the worker's lease, in the time of the store, and registers the
	// worker at its first beat. A beat whose number is not higher than all that were
	// seen before came late, or twice, and renews nothing. Then, whatever the number,
	// BeatRules decide about the tasks that the worker owns:
	//   - tasks that the beat does not list and that were claimed under a lower number
	//     are given back by b.Release: the answer to their claim was lost;
	//   - tasks that the beat lists as running although their deadline has passed, in
	//     the time of the store, are given back by b.TimeOut;
	//   - tasks that the beat lists as given up are given back by b.GiveUp: they had
	//     begun, so that they are charged.
	// Rows that somebody else is changing are left to the next beat.
	//
	// The tasks that the worker owns are looked at, and given back, in portions,
	// as domain.RestoreWithoutTexts makes them: no statement grows with what a worker
	// holds, nor with the length of messages. A beat that fails may have renewed the lease
	// and given some back. It does not fail because it cannot give back: what was to be given
	// back stays the worker's, the answer says why, and the next beat tries again.
	// What it gave back, it names, also beside an error.
	Beat(ctx context.Context, b Beat) (BeatAnswer, error)
	// Leave forgets a worker that holds nothing any more. One that still owns
	// tasks stays, so that its lease lapses and they are rescued. So does one whose row
	// another transaction has locked: a stop does not wait.
	Leave(ctx context.Context, id domain.WorkerID) error
	// Forget removes the workers whose heartbeat is older than silentFor, in the
	// time of the store, and that own no task, and returns how many they were. One
	// that was silent and lives registers again with its next beat. Rows that somebody
	// else has locked are left to the next call.
	Forget(ctx context.Context, silentFor time.Duration) (int, error)
}

// Beat is what a worker says of itself every Interval. It lists all that the
// worker holds: what is on no list is not held.
type Beat struct {
	Worker   WorkerInfo
	Number   int64           // counts the worker's beats, from 1
	Interval time.Duration   // how often the worker beats
	Claiming []domain.TaskID // in a claim whose answer is not there yet: any attempt
	Held     []HeldAttempt   // claimed and waiting, running, returned and not yet saved, or given up
	Portion  int             // how many of the worker's tasks one statement is for, at most; 0: BeatPortion
	Release  Decide
	TimeOut  Decide
	GiveUp   Decide
}

// BeatPortion is the most that one statement of a beat is for.
const BeatPortion = 500

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

	// Abandoned counts the handlers that ignore the end of their context. A worker
	// that has too many of them is Stuck: it takes no tasks until one returns.
	Abandoned int
	Stuck     bool
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
	GivenUp bool // its handler had begun, and its outcome cannot be stored
}

// BeatAnswer says which of the listed attempts are not the worker's any more,
// and which it is asked to stop.
type BeatAnswer struct {
	Lost     []AttemptRef
	Stop     []AttemptRef
	GaveBack []*domain.Task // as they are stored now, without texts; each once
	Kept     error          // why some that were to be given back are still the worker's; nil: none is
}

// RefOf names the latest attempt of a task.
func RefOf(t *domain.Task) AttemptRef { return AttemptRef{Task: t.ID(), Attempt: t.Attempt()} }
