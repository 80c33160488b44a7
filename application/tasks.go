package application

import (
	"context"
	"time"

	"github.com/millrace/millrace/domain"
)

// TaskRepository is the record of every task, and the only truth about it.
type TaskRepository interface {
	// Add stores new tasks, all or none, and returns after the commit.
	Add(ctx context.Context, tasks ...*domain.Task) error
	// AddOnce does that unless the key is remembered, and remembers it with the
	// tasks' ids until k.Expires, in the same transaction. For a key that is
	// remembered it stores nothing and returns the tasks that were stored with it,
	// as they are now and in order, up to PortionBytes of them together, but at least one:
	// the ids of the others are in rest, for GetMany. If the request was another one, that is
	// domain.ErrKeyReused. If any of the tasks has been deleted, it is domain.TaskGone; if one,
	// or the key, cannot be read, domain.CodeDamaged. It
	// waits for a twin that is under way. A key that has expired by k.Now is as good
	// as forgotten. A key that is remembered is only read, so a lock does not matter;
	// one that is to be taken over and is locked is waited for, and no other request
	// waits with it.
	AddOnce(ctx context.Context, k IdempotencyKey, tasks ...*domain.Task) (first []*domain.Task, rest []domain.TaskID, err error)
	// Get returns the task, or domain.ErrTaskNotFound; domain.CodeDamaged, if it cannot be
	// read.
	Get(ctx context.Context, id domain.TaskID) (*domain.Task, error)
	// GetMany returns those of the tasks that there are, the lowest id first, up to
	// PortionBytes of them together, but at least one. What it did not get to is in rest, in
	// the order of the ids that were given: ask for that next. A task that cannot be read is
	// left out.
	GetMany(ctx context.Context, ids ...domain.TaskID) (tasks []*domain.Task, rest []domain.TaskID, err error)
	// Versions returns the version of each of the tasks that there are: a look that
	// costs the same however long messages and results are.
	Versions(ctx context.Context, ids ...domain.TaskID) (map[domain.TaskID]int64, error)
	// Attempts returns the recorded attempts of the task, by number: those that
	// ended without success, at most the latest MaxAttemptRecords. A task that is
	// unknown has none.
	Attempts(ctx context.Context, id domain.TaskID) ([]domain.Attempt, error)
	// Save stores t if the stored version is the one that t was loaded at, with the
	// attempt and the worker that t had then, together with t.EndedAttempts. (The
	// version alone does not say so once the store has lost a change, in a failover to
	// a standby that had not got it: its number is given again.) Otherwise it stores
	// nothing and returns domain.ErrConflict, or domain.ErrTaskNotFound if there is no
	// such task. A task that another transaction has locked is waited for, and no other
	// save waits with it for longer than a moment; after the time that a call may take
	// that is domain.ErrUnavailable. A task that the store refuses because of what is in
	// it is domain.ErrRefused.
	Save(ctx context.Context, t *domain.Task) error
	// Claim makes those of the ids that are pending and marked as queued the
	// worker's, as domain.Task.Claim does. Any other id is skipped or unknown: no
	// error. So is a task whose row another transaction keeps locked: a claim waits for a
	// task no longer than a moment, and the sweep for stranded tasks finds what it has
	// skipped. A task that the store refuses to claim is named in Refused; it does not
	// stop the rest. Of many claims of one task one gets it. A worker whose heartbeat is
	// not domain.Heartbeat.Fresh gets domain.ErrWorkerStale, and no task.
	//
	// A claim takes at most ClaimPortion tasks, and no more once their messages come to
	// PortionBytes. What it did not get to is in Rest: claim that next.
	//
	// A queue that is Limited has as many tasks claimed as its
	// domain.QueueSettings.Admit says, in the order of ids, one claim of the queue at a
	// time: the claim holds the queue's settings until it is committed, and refuses
	// the rest. A queue whose settings somebody else holds for longer than an instant has
	// no capacity for the moment (domain.BusyCapacity), and holds up no other queue.
	Claim(ctx context.Context, c ClaimRequest) (ClaimResult, error)
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

// ClaimResult is what came of a claim: each id of the request is in one place, once,
// and in the order of the request.
type ClaimResult struct {
	Tasks   []*domain.Task
	Limited []LimitedQueue          // every limited queue that has tasks among those asked for
	Skipped []domain.TaskID         // there is such a task, and it could not be claimed
	Unknown []domain.TaskID         // there is no such task
	Rest    []domain.TaskID         // not asked for yet
	Refused map[domain.TaskID]error // the store does not take these as claimed: why
}

// The bounds of what one statement reads or writes of tasks.
const (
	ClaimPortion = 500
	PortionBytes = 4 << 20 // of messages and other texts
)

// LimitedQueue is what a claim met in a queue that is limited.
type LimitedQueue struct {
	Name     domain.QueueName
	Refused  []domain.TaskID // for want of capacity
	Capacity domain.Capacity // left after the claim
}

// Decide changes a task, or returns an error and leaves it as it is.
type Decide func(t *domain.Task) error
