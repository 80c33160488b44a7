package domain

import "slices"

// Status is where a task is in its life. The spellings are part of the API.
type Status string

// The statuses. Pending, processing, completed and canceled are what clients
// have always known; failed is the dead letter of a task whose attempts are spent.
const (
	StatusPending    Status = "pending"
	StatusProcessing Status = "processing"
	StatusCompleted  Status = "completed"
	StatusCanceled   Status = "canceled"
	StatusFailed     Status = "failed"
)

// transitions is the whole state machine. Ended: completed, canceled, failed;
// only failed reopens, by hand.
var transitions = map[Status][]Status{
	StatusPending:    {StatusProcessing, StatusCanceled},
	StatusProcessing: {StatusCompleted, StatusPending, StatusFailed, StatusCanceled}, // canceled: stopped on request
	StatusFailed:     {StatusPending},                                                // retry by hand
}

// Statuses lists every status, in the order of a task's life.
func Statuses() []Status {
	return []Status{StatusPending, StatusProcessing, StatusCompleted, StatusCanceled, StatusFailed}
}

// ParseStatus returns the status that is spelled s, or a CodeInvalid error.
func ParseStatus(s string) (Status, error) {
	if !slices.Contains(Statuses(), Status(s)) {
		return "", Invalid("status", "unknown status %s; want one of pending, processing, completed, canceled, failed", Quoted(s))
	}
	return Status(s), nil
}

// Ended reports whether a task of this status is done with: it never runs
// again unless it failed and somebody reopens it.
func (s Status) Ended() bool {
	return s == StatusCompleted || s == StatusCanceled || s == StatusFailed
}

// EndedStatuses lists those of tasks that have ended.
func EndedStatuses() []Status {
	return slices.DeleteFunc(Statuses(), func(s Status) bool { return !s.Ended() })
}

// Before lists the statuses from which a task can become next. Adapters build
// the conditions of their statements from it, so that the table stands once.
func Before(next Status) []Status {
	var from []Status
	for _, s := range Statuses() {
		if slices.Contains(transitions[s], next) {
			from = append(from, s)
		}
	}
	return from
}
