package telemetry

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

var (
	_ application.Events  = tracedEvents{}
	_ application.Handler = tracedHandler{}
)

// Events decorates who hears what happens: each attempt is the span process, and what is
// told of an attempt, by its worker or by whoever took the task from it, comes in its trace.
// Handler ends the span.
func (t *Traces) Events(next application.Events) application.Events {
	if t == nil {
		return next
	}
	return tracedEvents{next, t}
}

// tracedEvents puts attempts into traces.
type tracedEvents struct {
	application.Events
	traces *Traces
}

// AttemptStarting starts the span of the attempt.
func (e tracedEvents) AttemptStarting(ctx context.Context, t *domain.Task, wait time.Duration) context.Context {
	ctx, _ = e.traces.ofAttempt(ctx, operationProcess, trace.SpanKindConsumer, t, t.State())
	return e.Events.AttemptStarting(ctx, t, wait)
}

// AttemptEnded tells in the trace of the task, if not in that of the attempt.
func (e tracedEvents) AttemptEnded(ctx context.Context, t *domain.Task, end application.AttemptEnd) {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		ctx = trace.ContextWithRemoteSpanContext(ctx, e.traces.creationOf(ctx, t))
	}
	e.Events.AttemptEnded(ctx, t, end)
}

// Handler decorates a handler, whose task is in the trace of the attempt. So a webhook and
// a program hand on the attempt, and know nothing of OpenTelemetry; a function finds the
// span in its context. The span ends with the handler.
func (t *Traces) Handler(next application.Handler) application.Handler {
	if t == nil {
		return next
	}
	return tracedHandler{next, t}
}

// tracedHandler ends the span of each call of a handler.
type tracedHandler struct {
	next   application.Handler
	traces *Traces
}

var errPanicked = errors.New("the handler panicked")

// Handle calls the handler with a task of its own.
func (h tracedHandler) Handle(ctx context.Context, t *domain.Task) (result string, err error) {
	span := trace.SpanFromContext(ctx)
	if !span.SpanContext().IsValid() { // no attempt of a worker
		return h.next.Handle(ctx, t)
	}
	outcome := errPanicked // the worker says so, and the span has to end
	defer func() { end(span, outcome) }()
	own := t.Clone()
	h.traces.follow(ctx, own)
	result, err = h.next.Handle(ctx, own)
	outcome = err
	return result, err
}
