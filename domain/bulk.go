package domain

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
)

// BulkID names an action on many tasks.
type BulkID uuid.UUID

// String returns the canonical spelling.
func (id BulkID) String() string { return uuid.UUID(id).String() }

// Damaged says that no program has stored the action as it is.
func (id BulkID) Damaged(wrong string) *Error { return Damaged("bulk action "+id.String(), wrong) }

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

	Locked []TaskID    // above the cursor, and left out so far, as somebody has them locked
	Window int         // how many tasks the next step may look at; 0: as many as any step
	Tries  int         // steps in a row that took too long
	Ended  BulkOutcome // how, if it is done
	Reason string      // why it has failed
}

// BulkOutcome is how an action has ended.
type BulkOutcome string

// The outcomes. The spellings are part of the API.
const (
	BulkCompleted BulkOutcome = ""         // all that matched is done
	BulkCanceled  BulkOutcome = "canceled" // somebody has called it off
	BulkFailed    BulkOutcome = "failed"   // it could not go on
)

const (
	bulkTextWindow = 200                    // the first step's, if it has to read messages
	bulkSlow       = time.Second            // a step that searches for longer is followed by a smaller one
	bulkQuick      = 250 * time.Millisecond // one that searches for less, by a larger one
	bulkMaxWindow  = 20_000                 // from here on the window of any step is the bound
	maxBulkWindow  = 1_000_000              // no program stores a larger one
	// maxBulkTries is enough for the window to shrink to one task, and some more tries.
	maxBulkTries = 20
)

// maxBulkCount is more tasks than any store has, and no sum with it overflows.
const maxBulkCount = 1_000_000_000_000_000

// Readable returns CodeDamaged if no program has stored the action as it is: somebody else
// has changed it, and it is not to be carried out.
func (b Bulk) Readable() error {
	switch {
	case !b.Action.known():
		return b.ID.Damaged("an unknown action")
	case !TimesInRange(b.CreatedAt, b.UpdatedAt, b.DoneAt):
		return b.ID.Damaged("a time out of range")
	case min(b.Changed, b.Skipped, b.Window, b.Tries) < 0 || max(b.Changed, b.Skipped) > maxBulkCount || max(b.Window, b.Tries) > maxBulkWindow:
		return b.ID.Damaged("a count out of range")
	}
	return nil
}

// Cancel ends the action where it is: what is done stays done. One that was canceled
// before stays as it is; one that has ended otherwise is CodeConflict.
func (b Bulk) Cancel(now time.Time) (Bulk, error) {
	switch {
	case b.DoneAt.IsZero():
		return b.end(BulkCanceled, "", now), nil
	case b.Ended == BulkCanceled:
		return b, nil
	}
	return b, Errorf(CodeConflict, "a bulk action that is %s cannot become canceled", cmp.Or(string(b.Ended), "done"))
}

// Fail ends the action where it is, and says why.
func (b Bulk) Fail(reason string, now time.Time) Bulk { return b.end(BulkFailed, reason, now) }

// Shrink is the action after a step that took too long and did nothing: the next one
// looks at half as many tasks as this one did. After too many of them it has failed.
func (b Bulk) Shrink(looked int, now time.Time) Bulk {
	b = b.touched(now)
	b.Window, b.Tries = max(1, looked/2), b.Tries+1
	if b.Tries >= maxBulkTries {
		return b.Fail(fmt.Sprintf("the store could not look at %d tasks in time, %d times in a row; narrow the filter", b.Window, b.Tries), now)
	}
	return b
}

func (b Bulk) end(outcome BulkOutcome, reason string, now time.Time) Bulk {
	b = b.touched(now)
	b.Ended, b.Reason, b.DoneAt, b.Locked = outcome, reason, b.UpdatedAt, nil
	return b
}

// touched has moved on to now: a clock may step back, an action never does.
func (b Bulk) touched(now time.Time) Bulk {
	if now = Moment(now); now.After(b.UpdatedAt) {
		b.UpdatedAt = now
	}
	return b
}

// NewBulk begins an action on the tasks that there are by now. CodeInvalid names
// all that is wrong with it.
func NewBulk(action BulkAction, f TaskFilter, now time.Time) (Bulk, error) {
	if err := CheckBulk(action, f); err != nil {
		return Bulk{}, err
	}
	now = Moment(now)
	id := NewTaskID(now) // above all tasks that there are, below all that come
	b := Bulk{ID: BulkID(id), Action: action, Filter: f, Cursor: id, CreatedAt: now, UpdatedAt: now}
	if f.Text != "" {
		b.Window = bulkTextWindow
	}
	return b, nil
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
	Locked  []TaskID      // of these and of those before, what somebody has locked
	Took    time.Duration // the search
}

// allSeen is a cursor that no task is below.
var allSeen = TaskID{15: 1}

// Advance is the action after a part of it: its cursor has moved on, or it is done. What
// is locked keeps it from being done.
func (b Bulk) Advance(p BulkPart, now time.Time) Bulk {
	b = b.touched(now)
	b.Changed += p.Changed
	b.Skipped += p.Skipped
	b.Locked, b.Tries = nil, 0
	if len(p.Locked) > 0 { // as it is stored: none is nil
		b.Locked = p.Locked
	}
	switch {
	case b.Window == 0:
	case p.Took > bulkSlow:
		b.Window = max(1, b.Window/2)
	case p.Took < bulkQuick:
		b.Window *= 2
	}
	if b.Window >= bulkMaxWindow {
		b.Window = 0
	}
	switch {
	case p.Full && len(p.Found) > 0:
		b.Cursor = p.Found[len(p.Found)-1]
	case p.End != TaskID{}:
		b.Cursor = p.End
	case len(b.Locked) > 0:
		b.Cursor = allSeen
	default:
		b.DoneAt = b.UpdatedAt
	}
	return b
}
