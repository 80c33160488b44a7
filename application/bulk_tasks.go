package application

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/millrace/millrace/domain"
)

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

// The bounds of a step of a bulk action, and of a count.
const (
	bulkLimit   = 200
	CountWindow = 100_000 // tasks that a count looks at
)

// BulkTasks acts on many tasks.
type BulkTasks struct {
	search TaskSearch
	bulks  BulkRepository
	clock  Clock
}

// NewBulkTasks makes the use case.
func NewBulkTasks(search TaskSearch, bulks BulkRepository, clock Clock) *BulkTasks {
	return &BulkTasks{search: search, bulks: bulks, clock: clock}
}

// BulkTasksInput says what to do, and to which tasks.
type BulkTasksInput struct {
	Action BulkAction
	Filter TaskFilter
}

// Run begins the action: the dispatcher of any worker does it. An action that is
// none, or a filter that is out of bounds, is CodeInvalid.
func (uc *BulkTasks) Run(ctx context.Context, in BulkTasksInput) (Bulk, error) {
	if err := in.check(); err != nil {
		return Bulk{}, err
	}
	now := uc.clock.Now()
	id := domain.NewTaskID(now) // above all tasks that there are, below all that come
	b := Bulk{ID: BulkID(id), Action: in.Action, Filter: in.Filter, Cursor: id, CreatedAt: now, UpdatedAt: now}
	if err := uc.bulks.Add(ctx, b); err != nil {
		return Bulk{}, fmt.Errorf("store bulk action %s: %w", b.ID, err)
	}
	return b, nil
}

// Count tells how many tasks the action would look at: those that match among the
// latest CountWindow. all reports whether that is all there are.
func (uc *BulkTasks) Count(ctx context.Context, in BulkTasksInput) (n int, all bool, err error) {
	if err := in.check(); err != nil {
		return 0, false, err
	}
	n, all, err = uc.search.Count(ctx, TaskQuery{TaskFilter: in.Filter, Limit: 1, Window: CountWindow})
	if err != nil {
		return 0, false, fmt.Errorf("count tasks: %w", err)
	}
	return n, all, nil
}

// Check returns the error that Run and Count would return for an input that is
// wrong: for a caller who has found something else wrong already, and names all of it.
func (uc *BulkTasks) Check(in BulkTasksInput) error { return in.check() }

// Get returns a bulk action as it is now, or domain.ErrBulkNotFound.
func (uc *BulkTasks) Get(ctx context.Context, id BulkID) (Bulk, error) {
	b, err := uc.bulks.Get(ctx, id)
	if err != nil {
		return Bulk{}, fmt.Errorf("get bulk action %s: %w", id, err)
	}
	return b, nil
}

func (in BulkTasksInput) check() error {
	var wrong []domain.FieldError
	switch in.Action {
	case BulkCancel, BulkStop, BulkRetry:
	default:
		wrong = domain.Invalid("action", "%.40q is not an action; one of cancel, stop, retry is", in.Action).Fields
	}
	if err := in.Filter.check(); err != nil {
		for _, f := range domain.Public(err).Fields {
			wrong = append(wrong, domain.FieldError{Field: "filter/" + f.Field, Detail: f.Detail})
		}
	}
	if len(wrong) > 0 {
		return domain.InvalidFields(wrong...)
	}
	return nil
}

// apply is what the action does to a task.
func (a BulkAction) apply(t *domain.Task, now time.Time) error {
	switch a {
	case BulkCancel:
		return t.Cancel(now)
	case BulkStop:
		return t.RequestStop(now)
	case BulkRetry:
		return t.Reopen(now)
	}
	return fmt.Errorf("%.40q is not an action", a)
}
