package application

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/millrace/millrace/domain"
)

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

// BulkID names an action on many tasks.
type BulkID uuid.UUID

// String returns the canonical spelling.
func (id BulkID) String() string { return uuid.UUID(id).String() }

// ParseBulkID reads the canonical spelling of a UUID; otherwise CodeInvalid.
func ParseBulkID(s string) (BulkID, error) {
	id, err := domain.ParseTaskID(s)
	return BulkID(id), err
}

// BulkAction is what is done to each task.
type BulkAction string

// The actions. The spellings are part of the API.
const (
	BulkCancel BulkAction = "cancel" // what is pending
	BulkStop   BulkAction = "stop"   // what is pending, and ask what runs to stop
	BulkRetry  BulkAction = "retry"  // what has failed
)

// Bulk is an action on all tasks that match a filter when it is asked for. It is
// done in the background, newest task first, and goes on after a crash where it was.
type Bulk struct {
	ID        BulkID
	Action    BulkAction
	Filter    TaskFilter
	Cursor    domain.TaskID // what is at or above is done
	Changed   int
	Skipped   int // matched, and in no state for the action
	CreatedAt time.Time
	UpdatedAt time.Time
	DoneAt    time.Time // zero: not yet
}

// Apply is what the action does to a task.
func (a BulkAction) Apply(t *domain.Task, now time.Time) error {
	switch a {
	case BulkCancel:
		return t.Cancel(now)
	case BulkStop:
		return t.RequestStop(now)
	case BulkRetry:
		return t.Reopen(now)
	}
	return fmt.Errorf("unknown action %.40q", a)
}
