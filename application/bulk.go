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
	// Get returns it, or domain.ErrBulkNotFound.
	Get(ctx context.Context, id domain.BulkID) (domain.Bulk, error)
	// Step takes the oldest action that is not done and that nobody else is at, lists
	// what matches next, lets decide change each task, and stores what changed
	// together with domain.Bulk.Advance in one transaction. Decide gets the action as
	// it was stored before the step. What decide refuses, or leaves as it is, counts as
	// skipped, and so does a task that cannot be read. Step waits for whoever is
	// changing one of the tasks, and leaves out what does not match any more. An action
	// whose filter cannot be read is named and passed over: it does not stop the rest.
	Step(ctx context.Context, s BulkStep) (BulkStepResult, error)
}

// BulkStep bounds one step of a bulk action.
type BulkStep struct {
	Limit  int             // tasks to change at most
	Window int             // tasks to look at, at most
	Except []domain.BulkID // passed over in earlier steps of this sweep
	Decide func(b domain.Bulk, t *domain.Task) error
	Now    time.Time
}

// BulkStepResult is what one step has done.
type BulkStepResult struct {
	Found   bool        // false: there is no action to be done
	Bulk    domain.Bulk // after the step
	Changed []*domain.Task
	Passed  map[domain.BulkID]error // actions that cannot be read
}
