package application

import (
	"context"
	"errors"
	"time"

	"github.com/millrace/millrace/domain"
)

// Handler does the work of a task.
type Handler interface {
	// Handle processes the task and returns what the task keeps as its result: text,
	// of which domain.MaxResult bytes are kept. An error is tried again later, unless
	// it is Permanent; RetryAfter says when. NotStarted is no failure of the task: the
	// worker lacks what it takes to begin, such as a file descriptor or a process, and
	// nothing of the work was done. The worker releases the task, pauses, and is not
	// ready. Handle should return soon after ctx has
	// ended: the deadline has passed, the task is to stop, or the worker ends. One that
	// does not is left behind, and with too many of those the worker takes no tasks. What
	// it did by then may be done again by another attempt, which the task's id and
	// attempt let it notice. It is safe for concurrent use.
	Handle(ctx context.Context, t *domain.Task) (result string, err error)
}

// handlerError is an error of a handler that says more than "try again".
type handlerError struct {
	err        error
	permanent  bool
	after      time.Duration
	notStarted bool
}

func (e *handlerError) Error() string { return e.err.Error() }
func (e *handlerError) Unwrap() error { return e.err }

// Permanent says that no retry can help: the task fails at once.
func Permanent(err error) error { return &handlerError{err: err, permanent: true} }

// RetryAfter says when the next try makes sense: not before d has passed.
func RetryAfter(err error, d time.Duration) error { return &handlerError{err: err, after: d} }

// NotStarted says that the work was not begun, because the worker lacks what it takes.
func NotStarted(err error) error { return &handlerError{err: err, notStarted: true} }

// IsNotStarted reports whether a handler's error is NotStarted.
func IsNotStarted(err error) bool {
	e, ok := errors.AsType[*handlerError](err)
	return ok && e.notStarted
}

// FailureOf reads what a handler's error says.
func FailureOf(err error) domain.Failure {
	f := domain.Failure{Reason: err.Error()}
	if e, ok := errors.AsType[*handlerError](err); ok {
		f.Permanent, f.RetryAfter = e.permanent, e.after
	}
	return f
}

// HandlerByQueue gives each task to the handler of its queue.
type HandlerByQueue struct {
	Queues map[domain.QueueName]Handler
	Rest   Handler
}

var _ Handler = HandlerByQueue{}

// Handle calls the handler of the task's queue.
func (h HandlerByQueue) Handle(ctx context.Context, t *domain.Task) (string, error) {
	if own, ok := h.Queues[t.Queue()]; ok {
		return own.Handle(ctx, t)
	}
	return h.Rest.Handle(ctx, t)
}
