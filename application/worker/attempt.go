package worker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// attemptRun is one call of the handler. Its return or the end of the grace,
// whichever comes first, ends the attempt.
type attemptRun struct {
	*runner
	task   *domain.Task
	ref    application.AttemptRef
	queue  domain.QueueName
	ctx    context.Context // the handler's, and that of the events
	cancel context.CancelFunc
	saving context.Context // its outcome's
	begun  time.Time
	called bool // the handler
	ending sync.Once
}

// answer is what the handler returned.
type answer struct {
	result string
	err    error
}

// attempt runs the handler and stores what came of it. A handler that does not
// return within the grace after its context has ended is left behind.
func (r *runner) attempt(values, saving context.Context, t *domain.Task) {
	ended, end := context.WithCancelCause(values)
	ctx, cancel := context.WithTimeoutCause(ended, t.TimeoutOr(r.cfg.TaskTimeout), errTimedOut)
	a := &attemptRun{
		runner: r, task: t, ref: application.RefOf(t), queue: t.Queue(), saving: saving, begun: r.Clock.Now(),
		ctx: ctx, cancel: func() { cancel(); end(nil) },
	}
	r.leases.start(a.ref, end)
	if err := context.Cause(ctx); err != nil { // it may have to end before it has begun
		a.finish(answer{err: err})
		return
	}
	a.called = true
	a.ctx = r.Events.AttemptStarting(ctx, t, max(0, a.begun.Sub(t.RunAt())))
	unwatch := a.watch()
	result := a.call()
	unwatch()
	a.finish(result)
}

// watch abandons the attempt when the grace after the end of its context is over.
func (a *attemptRun) watch() (unwatch func() bool) {
	return context.AfterFunc(a.ctx, func() { time.AfterFunc(a.cfg.HandlerGrace, a.abandon) })
}

// call calls the handler. A panic is an error.
func (a *attemptRun) call() (result answer) {
	defer func() {
		if v := recover(); v != nil {
			a.Events.HandlerPanicked(a.ctx, a.queue, a.ref, v, debug.Stack())
			result.err = fmt.Errorf("the handler panicked: %v", v)
		}
	}()
	result.result, result.err = a.Handler.Handle(a.ctx, a.task)
	return result
}

// finish ends the attempt with what the handler returned, unless it was abandoned.
func (a *attemptRun) finish(result answer) {
	if !a.first(a.slots.returned) {
		a.slots.abandonedReturned()
		return
	}
	a.end(a.task, result)
}

// abandon ends the attempt of a handler that has not returned.
func (a *attemptRun) abandon() {
	if !a.first(a.slots.abandon) {
		return
	}
	a.Events.HandlerAbandoned(a.ctx, a.queue, a.ref)
	// The handler may still read the task.
	a.end(a.task.Clone(), answer{err: fmt.Errorf("the handler did not return: %w", context.Cause(a.ctx))})
}

// first reports whether the attempt has not ended yet, and ends it for the beats
// and the slots. Whoever comes second finds that done.
func (a *attemptRun) first(freeSlot func(domain.QueueName)) (first bool) {
	a.ending.Do(func() {
		first = true
		a.leases.returned(a.ref)
		freeSlot(a.queue)
	})
	return first
}

// end stores the outcome. t is the task, or a copy if the handler may still read it.
func (a *attemptRun) end(t *domain.Task, result answer) {
	cause := context.Cause(a.ctx)
	a.cancel()
	now, why := a.Clock.Now(), result.err
	switch {
	case application.IsNotStarted(result.err):
		a.shortage.notStarted(result.err, now)
		a.Events.LoopRan(a.saving, application.LoopStart, result.err)
		why = nil // one line for all
	case a.shortage.started(a.begun, now):
		a.Events.LoopRan(a.saving, application.LoopStart, nil)
	}
	e := attemptEnding{saving: a.saving, told: a.ctx, end: application.AttemptEnd{Began: a.called, Err: why}}
	if a.called {
		e.end.Took = max(0, now.Sub(a.begun))
	}
	a.store(t, a.outcome(t, cause, result), e)
}

// outcome says what becomes of the task: cause is why the handler's context
// ended (nil: it did not). A handler that has finished wins over whatever its
// context said.
func (r *runner) outcome(t *domain.Task, cause error, result answer) outcome {
	switch {
	case result.err == nil:
		return outcome{charged: true, decide: func(t *domain.Task) error {
			return t.Complete(t.Attempt(), result.result, r.Clock.Now())
		}}
	case errors.Is(cause, domain.ErrAttemptLost):
		return outcome{decide: func(*domain.Task) error { return domain.ErrAttemptLost }}
	case errors.Is(cause, errStopRequested), errors.Is(cause, errShutdown), application.IsNotStarted(result.err):
		return outcome{decide: r.release}
	case errors.Is(cause, errTimedOut):
		return outcome{charged: true, decide: r.fail(domain.Failure{
			Reason: fmt.Sprintf("not finished within %s: %v", t.TimeoutOr(r.cfg.TaskTimeout), result.err),
		})}
	default:
		return outcome{charged: true, decide: r.fail(application.FailureOf(result.err))}
	}
}

func (r *runner) release(t *domain.Task) error { return t.Release(t.Attempt(), r.Clock.Now()) }

func (r *runner) fail(f domain.Failure) application.Decide {
	return func(t *domain.Task) error {
		return t.Fail(t.Attempt(), f, r.cfg.Retry, rand.Float64(), r.Clock.Now())
	}
}
