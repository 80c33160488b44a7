package domain

import (
	"errors"
	"fmt"
	"strings"
)

// Code says to a program what kind of failure an Error is. Codes are part of
// the API: they never change their spelling or their meaning.
type Code string

// The codes.
const (
	CodeInvalid     Code = "invalid"                // well-formed, but against a rule; Fields says where
	CodeTooLarge    Code = "too_large"              // over a size limit
	CodeNotFound    Code = "not_found"              // no such task, queue or bulk action
	CodeConflict    Code = "conflict"               // the task's state does not allow it
	CodeChanged     Code = "changed"                // the task is not at the version that the caller has seen
	CodeGone        Code = "gone"                   // a task that an idempotency key stands for has been deleted
	CodeKeyReused   Code = "idempotency_key_reused" // the key came with another request before
	CodeTooMuch     Code = "too_much"               // more than a store can do in time: ask for less
	CodeUnavailable Code = "unavailable"            // a store is away or did not answer in time: try again
	CodeRefused     Code = "refused"                // the store has a rule of its operator's against it
	CodeDamaged     Code = "damaged"                // what is stored is in a state that no program leaves
	CodeInternal    Code = "internal"               // a defect of ours
)

// Error is a failure that a caller can act on. Every other error is internal.
type Error struct {
	Code    Code
	Message string       // safe to show to a client
	Fields  []FieldError // which parts of the input are wrong, if the input is
}

// FieldError is what is wrong with one field of an input.
type FieldError struct {
	Field  string // the field's name, as in JSON; inside others a path as in RFC 6901, such as tasks/17/message
	Detail string
}

// The failures that callers tell apart with errors.Is.
var (
	ErrTaskNotFound = &Error{Code: CodeNotFound, Message: "task not found"}
	// ErrConflict says that a save met a newer version: reload and decide again.
	ErrConflict = &Error{Code: CodeConflict, Message: "the task was modified concurrently"}
	// ErrChanged says that the task has moved on from the version that the caller named.
	ErrChanged = &Error{Code: CodeChanged, Message: "the task has changed since that version"}
	// ErrAttemptLost says that the attempt is no longer the one that holds the task.
	ErrAttemptLost = &Error{Code: CodeConflict, Message: "the attempt no longer holds the task"}
	// ErrWorkerStale says that a worker may not claim, because its heartbeat is not young.
	ErrWorkerStale = &Error{Code: CodeConflict, Message: "the worker's heartbeat is too old to claim"}
	// ErrQueueNotFound says that a queue has no settings, no task that waits or runs, and no worker.
	ErrQueueNotFound = &Error{Code: CodeNotFound, Message: "queue not found"}
	// ErrBulkNotFound says that there is no such bulk action.
	ErrBulkNotFound = &Error{Code: CodeNotFound, Message: "bulk action not found"}
	// ErrKeyReused says that an idempotency key came with another request before.
	ErrKeyReused = &Error{Code: CodeKeyReused, Message: "the Idempotency-Key was already used with a different request"}
	// ErrRefused says that the store is well and refuses what was to be written, because
	// of what is in it: to try the same again is of no use.
	ErrRefused = &Error{Code: CodeRefused, Message: "the store refuses what was to be written"}
	// ErrTooMuch says that a search takes too long while the store answers others.
	ErrTooMuch = &Error{Code: CodeTooMuch, Message: "the search takes too long: narrow it by creation time (created_from, created_before), status, queue or metadata, or leave out text"}
	// ErrUnavailable says that a store is away, or that nobody knows what became of a write.
	ErrUnavailable = &Error{Code: CodeUnavailable, Message: "the store is not responding; try again"}
)

// TaskGone says of a task that it was stored with an idempotency key and has been deleted.
func TaskGone(id TaskID) *Error {
	return Errorf(CodeGone, "this request was already made with this Idempotency-Key, but its task %s has since been deleted", id)
}

// BulkGone says so of a bulk action.
func BulkGone(id BulkID) *Error {
	return Errorf(CodeGone, "this request was already made with this Idempotency-Key, but its bulk action %s has since been deleted", id)
}

// Damaged says of a record, such as a task by its id, that no program has stored it as it is.
func Damaged(record, wrong string) *Error {
	return Errorf(CodeDamaged, "%s is in an impossible state: %s", record, wrong)
}

// KeyDamaged says so of the record of an idempotency key: the one that came with the request.
func KeyDamaged(wrong string) *Error { return Damaged("the record of this Idempotency-Key", wrong) }

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// Errorf makes an Error with a formatted message.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Invalid makes a CodeInvalid error about one field.
func Invalid(field, format string, args ...any) *Error {
	detail := fmt.Sprintf(format, args...)
	return &Error{Code: CodeInvalid, Message: field + ": " + detail, Fields: []FieldError{{Field: field, Detail: detail}}}
}

// InvalidFields makes a CodeInvalid error about several fields, at least one.
func InvalidFields(fields ...FieldError) *Error {
	texts := make([]string, len(fields))
	for i, f := range fields {
		texts[i] = f.Field + ": " + f.Detail
	}
	return &Error{Code: CodeInvalid, Message: strings.Join(texts, "; "), Fields: fields}
}

// Public finds the Error in err, however deeply it is wrapped. For all else it
// returns a CodeInternal error that gives nothing away.
func Public(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Code: CodeInternal, Message: "internal error"}
}
