package worker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/internal/loop"
	"github.com/millrace/millrace/domain"
)

// maxSaveTries bounds the tries to store an outcome, or to read its task again,
// that the store refuses for a reason that waiting does not cure.
const maxSaveTries = 5

// attempt runs the handler and stores what came of it. A handler that does not
// return within the grace after its context has ended is left behind.
func (w *Worker) attempt(values, saving context.Context, t *domain.Task) {
	ref := application.RefOf(t)
	ctx, end := context.WithCancelCause(values)
	ctx, stop := context.WithTimeoutCause(ctx, t.TimeoutOr(w.cfg.TaskTimeout), errDeadline)
	begun := w.clock.Now()
	var over atomic.Bool // whichever comes first, the handler's return or the end of the grace, ends the attempt
	ended := func(t *domain.Task, a answer) {
		cause := context.Cause(ctx)
		stop()
		end(nil)
		w.holdings.returned(ref)
		w.slots.returned()
		w.store(saving, t, w.outcome(t, cause, a), a.err, w.clock.Now().Sub(begun))
	}
	unwatch := context.AfterFunc(ctx, func() {
		time.AfterFunc(w.cfg.HandlerGrace, func() {
			if over.CompareAndSwap(false, true) {
				w.events.HandlerAbandoned(ctx, ref)
				// The handler may still read the task.
				ended(t.Clone(), answer{err: fmt.Errorf("the handler did not return: %w", context.Cause(ctx))})
			}
		})
	})
	w.holdings.start(ref, end)
	a := answer{err: context.Cause(ctx)}
	if a.err == nil { // it may have to end before it has begun
		w.events.AttemptStarted(ctx, t)
		a = w.handle(ctx, t)
	}
	unwatch()
	if over.CompareAndSwap(false, true) {
		ended(t, a)
	}
}

// answer is what came of a call of the handler.
type answer struct {
	result string
	err    error
}

// handle calls the handler. A panic is an error.
func (w *Worker) handle(ctx context.Context, t *domain.Task) (a answer) {
	defer func() {
		if v := recover(); v != nil {
			w.events.HandlerPanicked(ctx, application.RefOf(t), v, debug.Stack())
			a.err = fmt.Errorf("the handler panicked: %v", v)
		}
	}()
	a.result, a.err = w.handler.Handle(ctx, t)
	return a
}

// outcome says what becomes of the task: cause is why the handler's context
// ended (nil: it did not), a what the handler answered. A handler that has
// finished wins over whatever its context said.
func (w *Worker) outcome(t *domain.Task, cause error, a answer) application.Decide {
	switch {
	case a.err == nil:
		return func(t *domain.Task) error { return t.Complete(t.Attempt(), a.result, w.clock.Now()) }
	case errors.Is(cause, domain.ErrAttemptLost):
		return func(*domain.Task) error { return domain.ErrAttemptLost }
	case errors.Is(cause, errStopRequested), errors.Is(cause, errShutdown):
		return w.release
	case errors.Is(cause, errDeadline):
		return w.fail(domain.Failure{Reason: fmt.Sprintf("not finished within %s: %v", t.TimeoutOr(w.cfg.TaskTimeout), a.err)})
	default:
		return w.fail(application.FailureOf(a.err))
	}
}

func (w *Worker) release(t *domain.Task) error { return t.Release(t.Attempt(), w.clock.Now()) }

func (w *Worker) fail(f domain.Failure) application.Decide {
	return func(t *domain.Task) error {
		return t.Fail(t.Attempt(), f, w.cfg.Retry, rand.Float64(), w.clock.Now())
	}
}

// store stores the outcome of an attempt and lets go of the task. While the store
// is away it tries again, for as long as the lease holds: the heart's answer says
// when it does not.
func (w *Worker) store(ctx context.Context, t *domain.Task, decide application.Decide, cause error, took time.Duration) {
	ref := application.RefOf(t)
	defer w.letGo(ref, t.Queue())
	stored, err := w.trySave(ctx, ref, t, decide)
	switch {
	case err == nil:
		w.signals.Send(application.Signal{Kind: application.SignalChanged, Tasks: []domain.TaskID{ref.Task}})
		w.events.AttemptEnded(ctx, stored, took, cause)
	case errors.Is(err, domain.ErrAttemptLost), errors.Is(err, domain.ErrTaskNotFound):
		w.events.AttemptLost(ctx, ref)
	default:
		w.events.OutcomeUnsaved(ctx, ref, err)
	}
}

func (w *Worker) trySave(ctx context.Context, ref application.AttemptRef, t *domain.Task, decide application.Decide) (*domain.Task, error) {
	wait := loop.NewBackoff()
	for tries := 1; ; {
		if t.Attempt() != ref.Attempt {
			return nil, domain.ErrAttemptLost
		}
		if err := decide(t); err != nil {
			return nil, err
		}
		err := w.tasks.Save(ctx, t)
		switch {
		case err == nil:
			w.events.Turn(ctx, application.LoopSave, nil)
			return t, nil
		case errors.Is(err, domain.ErrTaskNotFound):
			return nil, err
		case errors.Is(err, domain.ErrConflict): // a stop was asked for, or the attempt is lost
		default:
			w.events.Turn(ctx, application.LoopSave, err)
			if !errors.Is(err, domain.ErrUnavailable) {
				tries++
			}
			if tries > maxSaveTries || !loop.Pause(ctx, wait) {
				return nil, err
			}
		}
		now, err := w.reload(ctx, ref)
		if err != nil {
			return nil, err
		}
		if now.Version() == t.Version() && now.Status() == t.Status() && now.Attempt() == ref.Attempt {
			return now, nil // the save whose answer was lost did go through
		}
		t = now
	}
}

// reload reads the task of an attempt that the worker still holds.
func (w *Worker) reload(ctx context.Context, ref application.AttemptRef) (*domain.Task, error) {
	wait := loop.NewBackoff()
	for tries := 1; ; {
		if cause := w.holdings.causeOf(ref); errors.Is(cause, domain.ErrAttemptLost) {
			return nil, cause
		}
		t, err := w.tasks.Get(ctx, ref.Task)
		if err == nil || errors.Is(err, domain.ErrTaskNotFound) {
			return t, err
		}
		if !errors.Is(err, domain.ErrUnavailable) {
			tries++
		}
		if tries > maxSaveTries || !loop.Pause(ctx, wait) {
			return nil, err
		}
	}
}
