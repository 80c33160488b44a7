package application

import (
	"context"

	"github.com/millrace/millrace/domain"
)

// PurgeRepository deletes the tasks that have expired. Which those are the domain says:
// the store shows what decides it, part by part along the ids, and deletes what it is told.
type PurgeRepository interface {
	// PurgeCursor returns how far the walk has come: tasks at or below it are done. Zero:
	// it begins.
	PurgeCursor(ctx context.Context, walk PurgeWalk) (domain.TaskID, error)
	// PurgeCandidates returns the tasks of the walk in the window, in the order of their
	// ids. It locks nothing, and its cost is that of the window's limit, however many tasks
	// there are. A row that cannot be read comes as one that does not expire.
	PurgeCandidates(ctx context.Context, walk PurgeWalk, w PurgeWindow) ([]domain.PurgeCandidate, error)
	// Purge deletes exactly those of the tasks that still have their version and status
	// and have ended, together with their attempts and with what finds them by their
	// metadata, and moves the cursor, in one transaction. A task of which somebody has locked
	// a row is passed over. One that the store refuses to delete is named, and does not stop
	// the rest. If the walk has not come to s.From, as another worker has moved it, nothing
	// is done.
	Purge(ctx context.Context, s PurgeStep) (PurgeResult, error)
}

// PurgeWalk names a walk of the purge along the ids.
type PurgeWalk string

// The walks. Tasks that say themselves how long they are kept are few or none, and may
// expire when all others of their age are still too young.
const (
	PurgeAll PurgeWalk = "all"
	PurgeOwn PurgeWalk = "own" // only those that say so themselves
)

// PurgeWindow is a part of the ids.
type PurgeWindow struct {
	After, Before domain.TaskID // above the one and below the other
	Limit         int           // at most so many tasks; at least 1
}

// PurgeStep is what a step of the purge does.
type PurgeStep struct {
	Walk     PurgeWalk
	From, To domain.TaskID // of the cursor
	Expired  []domain.PurgeCandidate
}

// PurgeResult is what a step of the purge has done.
type PurgeResult struct {
	Moved   bool // false: another worker has moved the cursor, and nothing is done
	Purged  []domain.TaskID
	Refused map[domain.TaskID]error
}
