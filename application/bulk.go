package application

import (
	"context"
	"time"

	"github.com/millrace/millrace/domain"
)

// BulkRepository is the record of the actions on many tasks.
type BulkRepository interface {
	// Add stores a new bulk action. A filter that is out of bounds is
	// domain.CodeInvalid.
	Add(ctx context.Context, b domain.Bulk) error
	// AddOnce does that unless the key is remembered, as TaskRepository.AddOnce does: for
	// a key that is remembered it stores nothing and returns the action that was stored
	// with it, as it is now. Tasks and actions share the keys.
	AddOnce(ctx context.Context, k IdempotencyKey, b domain.Bulk) (first *domain.Bulk, err error)
	// Get returns it, or domain.ErrBulkNotFound.
	Get(ctx context.Context, id domain.BulkID) (domain.Bulk, error)
	// List returns actions, the latest first. One that cannot be read does not hide the
	// others.
	List(ctx context.Context, q BulkQuery) (BulkList, error)
	// Change applies decide to the action, and stores what it returns. It
	// waits for a step that is under way. An error of decide is returned, and changes
	// nothing; domain.ErrBulkNotFound if there is no such action.
	Change(ctx context.Context, id domain.BulkID, decide func(b domain.Bulk) (domain.Bulk, error)) (domain.Bulk, error)
	// Step takes the oldest action that is not done and that nobody else is at, lists
	// what matches next, applies decide to each task, and stores what changed
	// together with domain.Bulk.Advance in one transaction. Decide gets the action as
	// it was stored before the step. What it makes domain.Task.Deleted is removed, as
	// TaskRepository.Delete does. What decide refuses, or leaves as it is, counts as
	// skipped, and so does a task that cannot be read or that the store refuses. A task
	// that somebody else has locked is not waited for: it stays in b.Locked, and each step
	// tries it again. What does not match any more is left out. A step looks at no more
	// tasks than BulkStep.WindowOf says; a search that takes too long does nothing but
	// domain.Bulk.Shrink, and the store stops working on it. An action that cannot be read,
	// or whose progress the store refuses, is named and passed over: it does not stop the
	// rest.
	// The tasks come as domain.RestoreWithoutTexts makes them.
	Step(ctx context.Context, s BulkStep) (BulkStepResult, error)
}

// BulkQuery says which actions to list.
type BulkQuery struct {
	Before domain.BulkID // only ids below this one; zero: from the latest
	Limit  int           // at most so many; at least 1
}

// BulkList is a part of the list of actions.
type BulkList struct {
	Bulks   []domain.Bulk
	Omitted []domain.BulkID // cannot be read; they count against the limit
}

// BulkStep bounds one step of a bulk action.
type BulkStep struct {
	Limit  int             // tasks to change at most
	Window int             // tasks to look at, at most
	Except []domain.BulkID // passed over in earlier steps of this sweep
	Decide func(b domain.Bulk, t *domain.Task) error
	Now    time.Time
}

// WindowOf is how many tasks the step of the action looks at, at most.
func (s BulkStep) WindowOf(b domain.Bulk) int {
	if b.Window > 0 {
		return min(b.Window, s.Window)
	}
	return s.Window
}

// BulkStepResult is what one step has done.
type BulkStepResult struct {
	Found   bool        // false: there is no action to be done
	Bulk    domain.Bulk // after the step
	Changed []*domain.Task
	Passed  map[domain.BulkID]error // actions that cannot be read, or whose progress the store refuses
}
