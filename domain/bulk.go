package domain

import (
	"slices"
	"time"

	"github.com/google/uuid"
)

// BulkID names an action on many tasks.
type BulkID uuid.UUID

// String returns the canonical spelling.
func (id BulkID) String() string { return uuid.UUID(id).String() }

// BulkAction is what is done to each task.
type BulkAction string

// The actions. The spellings are part of the API.
const (
	BulkCancel BulkAction = "cancel" // what is pending
	BulkStop   BulkAction = "stop"   // what is pending, and ask what runs to stop
	BulkRetry  BulkAction = "retry"  // what has failed
)

// Apply does the action to a task, or returns an error if its state does not allow it.
func (a BulkAction) Apply(t *Task, now time.Time) error {
	switch a {
	case BulkCancel:
		return t.Cancel(now)
	case BulkStop:
		return t.RequestStop(now)
	case BulkRetry:
		return t.Reopen(now)
	}
	return a.unknown()
}

func (a BulkAction) known() bool {
	return slices.Contains([]BulkAction{BulkCancel, BulkStop, BulkRetry}, a)
}

func (a BulkAction) unknown() *Error {
	return Invalid("action", "unknown action %s; want one of cancel, stop, retry", Quoted(a))
}

// Bulk is an action on all tasks that match a filter when it is asked for. It is
// done in the background, newest task first, and goes on after a crash where it was.
type Bulk struct {
	ID        BulkID
	Action    BulkAction
	Filter    TaskFilter
	Cursor    TaskID // what is at or above is done
	Changed   int
	Skipped   int // matched, and in no state for the action
	CreatedAt time.Time
	UpdatedAt time.Time
	DoneAt    time.Time // zero: not yet
}

// NewBulk begins an action on the tasks that there are by now. CodeInvalid names
// all that is wrong with it.
func NewBulk(action BulkAction, f TaskFilter, now time.Time) (Bulk, error) {
	if err := CheckBulk(action, f); err != nil {
		return Bulk{}, err
	}
	now = Moment(now)
	id := NewTaskID(now) // above all tasks that there are, below all that come
	return Bulk{ID: BulkID(id), Action: action, Filter: f, Cursor: id, CreatedAt: now, UpdatedAt: now}, nil
}

// CheckBulk returns the error that NewBulk would.
func CheckBulk(action BulkAction, f TaskFilter) error {
	var wrong []FieldError
	if !action.known() {
		wrong = action.unknown().Fields
	}
	if err := f.Check(); err != nil {
		for _, f := range Public(err).Fields {
			wrong = append(wrong, FieldError{Field: "filter/" + f.Field, Detail: f.Detail})
		}
	}
	if len(wrong) > 0 {
		return InvalidFields(wrong...)
	}
	return nil
}

// BulkPart is what one step of an action has found and done.
type BulkPart struct {
	Found   []TaskID // the tasks that matched below the cursor, newest first
	Full    bool     // as many as a step may change: there may be more below the last
	End     TaskID   // where the search stopped before it was full; zero: it has seen all there are
	Changed int
	Skipped int
}

// Advance is the action after a part of it: its cursor has moved on, or it is done.
func (b Bulk) Advance(p BulkPart, now time.Time) Bulk {
	if now = Moment(now); now.After(b.UpdatedAt) { // a clock may step back, an action never does
		b.UpdatedAt = now
	}
	b.Changed += p.Changed
	b.Skipped += p.Skipped
	switch {
	case p.Full && len(p.Found) > 0:
		b.Cursor = p.Found[len(p.Found)-1]
	case p.End != TaskID{}:
		b.Cursor = p.End
	default:
		b.DoneAt = b.UpdatedAt
	}
	return b
}
