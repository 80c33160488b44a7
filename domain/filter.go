package domain

import (
	"bytes"
	"slices"
	"time"
)

// The bounds of a filter: what a search has to compare each task with. Those of its
// metadata are a task's own: MaxMetadata, MaxMetadataKey, MaxMetadataValue. How many
// tasks it looks at is bounded by the window of the search, not here.
const (
	MaxFilterText   = 1000 // bytes
	MaxFilterQueues = 100
)

// TaskFilter says which tasks are meant. A part that is empty restricts nothing.
type TaskFilter struct {
	Statuses       []Status          // any of these
	Queues         []QueueName       // any of these
	CreatedFrom    time.Time         // inclusive
	CreatedBefore  time.Time         // exclusive
	FinishedFrom   time.Time         // inclusive
	FinishedBefore time.Time         // exclusive
	Metadata       map[string]string // all of these pairs
	Text           string            // in the message, as it is written
}

// Empty reports whether the filter restricts nothing.
func (f TaskFilter) Empty() bool {
	return len(f.Statuses)+len(f.Queues)+len(f.Metadata)+len(f.Text) == 0 &&
		f.CreatedFrom.IsZero() && f.CreatedBefore.IsZero() && f.FinishedFrom.IsZero() && f.FinishedBefore.IsZero()
}

// Check names the parts of the filter that no task can match, or that would take
// too long to compare: CodeInvalid.
func (f TaskFilter) Check() error {
	var wrong []FieldError
	bad := func(err *Error) { wrong = append(wrong, err.Fields...) }
	if len(f.Queues) > MaxFilterQueues {
		bad(Invalid("queue", "must be at most %d queues, not %d", MaxFilterQueues, len(f.Queues)))
	}
	wrong = append(wrong, checkMetadata(f.Metadata)...)
	switch {
	case len(f.Text) > MaxFilterText:
		bad(Invalid("text", "must be at most %d bytes long, not %d", MaxFilterText, len(f.Text)))
	case !validText(f.Text): // as no message is
		bad(Invalid("text", "must be valid UTF-8 without the NUL character (U+0000)"))
	}
	if len(wrong) > 0 {
		return InvalidFields(wrong...)
	}
	return nil
}

// Normalize returns a filter that means the same tasks and says it in one way:
//   - the statuses are known ones, each once, in the order of Statuses; none means
//     that any will do. A range of the end leaves those that have ended;
//   - the bounds of times are moments.
//
// ok is false if no task can match: for an empty range, statuses that exclude
// each other, or a text that no task can hold.
func (f TaskFilter) Normalize() (n TaskFilter, ok bool) {
	for _, at := range []*time.Time{&f.CreatedFrom, &f.CreatedBefore, &f.FinishedFrom, &f.FinishedBefore} {
		*at = nextMoment(*at)
	}
	if emptyRange(f.CreatedFrom, f.CreatedBefore) || emptyRange(f.FinishedFrom, f.FinishedBefore) || !f.holdable() {
		return TaskFilter{}, false
	}
	finished := !f.FinishedFrom.IsZero() || !f.FinishedBefore.IsZero()
	var statuses []Status
	for _, s := range Statuses() {
		if (len(f.Statuses) == 0 || slices.Contains(f.Statuses, s)) && (!finished || s.Ended()) {
			statuses = append(statuses, s)
		}
	}
	if len(statuses) == 0 {
		return TaskFilter{}, false
	}
	if f.Statuses = statuses; len(statuses) == len(Statuses()) {
		f.Statuses = nil
	}
	return f, true
}

func emptyRange(from, before time.Time) bool { return !before.IsZero() && !from.Before(before) }

// holdable reports whether a task can hold the texts of the filter.
func (f TaskFilter) holdable() bool {
	for key, value := range f.Metadata {
		if !validText(key) || !validText(value) {
			return false
		}
	}
	return validText(f.Text)
}

// IDRange is a range of ids. A bound that is zero does not exist.
type IDRange struct {
	From   TaskID // inclusive
	Before TaskID // exclusive
}

// IDs is the range that has the ids of all tasks that match: an id tells the
// millisecond in which its task was created, and no task ends before that. A task
// whose id was made elsewhere is found by its time only as far as its id agrees.
func (f TaskFilter) IDs() IDRange {
	var r IDRange
	if !f.CreatedFrom.IsZero() {
		r.From = FirstID(f.CreatedFrom)
	}
	for _, before := range []time.Time{f.CreatedBefore, f.FinishedBefore} {
		if !before.IsZero() {
			r = r.Below(FirstID(before.Add(time.Millisecond - 1))) // of the next millisecond, unless it is a whole one
		}
	}
	return r
}

// Below is the part of the range that is below id; all of it if id is zero.
func (r IDRange) Below(id TaskID) IDRange {
	if id != (TaskID{}) && (r.Before == (TaskID{}) || bytes.Compare(id[:], r.Before[:]) < 0) {
		r.Before = id
	}
	return r
}
