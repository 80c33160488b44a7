package telemetry

import (
	"context"
	"log/slog"
	"net/http"
	"strings"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/millrace/millrace/domain"
)

// Traces follows tasks with spans of OpenTelemetry, by its conventions for HTTP servers
// and for messaging. It is safe for concurrent use. nil is off: then every method returns
// what it was given, so that what is not traced costs nothing.
type Traces struct {
	provider trace.TracerProvider
	tracer   trace.Tracer
	context  propagation.TraceContext
	export   func() // what is left; nil: its spans are somebody else's
}

// scope is the name by which the spans say who has made them.
const scope = "github.com/millrace/millrace"

// NewTraces makes a Traces whose spans go to provider.
func NewTraces(provider trace.TracerProvider) *Traces {
	return &Traces{provider: provider, tracer: provider.Tracer(scope, trace.WithSchemaURL(semconv.SchemaURL))}
}

// Close exports the spans that are left, for up to a second, and ends the export. Further
// calls wait for that, and do nothing.
func (t *Traces) Close() {
	if t != nil && t.export != nil {
		t.export()
	}
}

// Provider is for libraries that make spans of their own; nil: they are not to.
func (t *Traces) Provider() trace.TracerProvider {
	if t == nil {
		return nil
	}
	return t.provider
}

// Observer is a middleware that makes a span of every request but those about health, in
// the trace of the caller if it sends one. nil: there is nothing to do.
func (t *Traces) Observer() func(http.Handler) http.Handler {
	if t == nil {
		return nil
	}
	around := otelhttp.NewMiddleware("",
		otelhttp.WithTracerProvider(t.provider), otelhttp.WithPropagators(t.context), otelhttp.WithMeterProvider(metricnoop.NewMeterProvider()),
		otelhttp.WithFilter(func(r *http.Request) bool { return r.URL.Path != "/healthz" && r.URL.Path != "/readyz" }))
	return func(next http.Handler) http.Handler {
		return around(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(w, r)
			if r.Pattern != "" { // otelhttp asks for it before the request is routed
				trace.SpanFromContext(r.Context()).SetAttributes(semconv.HTTPRoute(r.Pattern))
			}
		}))
	}
}

// Log adds trace_id and span_id to the lines that are logged with the context of a trace.
func (t *Traces) Log(log *slog.Logger) *slog.Logger {
	if t == nil {
		return log
	}
	return slog.New(traceLog{log.Handler()})
}

// The attributes of Millrace's own.
const (
	keyAttempt  = attribute.Key("millrace.task.attempt")
	keyPriority = attribute.Key("millrace.task.priority")
	keyWorker   = attribute.Key("millrace.worker.id")
)

// operation is one of the messaging conventions.
type operation struct {
	name string
	kind attribute.KeyValue
}

var (
	operationSend    = operation{"send", semconv.MessagingOperationTypeSend}
	operationReceive = operation{"receive", semconv.MessagingOperationTypeReceive}
	operationProcess = operation{"process", semconv.MessagingOperationTypeProcess}
	operationAck     = operation{"ack", semconv.MessagingOperationTypeSettle}
	operationNack    = operation{"nack", semconv.MessagingOperationTypeSettle}
)

// attributes are those that every span of the operation has.
func (o operation) attributes() []attribute.KeyValue {
	return append(make([]attribute.KeyValue, 0, 9),
		semconv.MessagingSystemKey.String("millrace"), semconv.MessagingOperationName(o.name), o.kind)
}

// about adds what the tasks have in common: all, if there is one.
func about(attrs []attribute.KeyValue, tasks []*domain.Task) []attribute.KeyValue {
	if len(tasks) == 1 {
		attrs = append(attrs, semconv.MessagingMessageID(tasks[0].ID().String()), keyPriority.Int(tasks[0].State().Priority))
	} else {
		attrs = append(attrs, semconv.MessagingBatchMessageCount(len(tasks)))
	}
	if queue := commonQueue(tasks); queue != "" {
		attrs = append(attrs, semconv.MessagingDestinationName(queue))
	}
	return attrs
}

// spanName is the operation, and the queue if there is one.
func (o operation) spanName(queue string) string { return strings.TrimSuffix(o.name+" "+queue, " ") }

// commonQueue is the queue of all the tasks; empty: they are of several, or there are none.
func commonQueue(tasks []*domain.Task) (queue string) {
	for i, t := range tasks {
		if i > 0 && string(t.Queue()) != queue {
			return ""
		}
		queue = string(t.Queue())
	}
	return queue
}

// ofAttempt starts a span about the attempt that a task is in, or was in before it was
// changed. Its parent is the context that the task was created in, and it is linked to
// that, too, as the conventions want of whoever handles messages one by one.
func (t *Traces) ofAttempt(ctx context.Context, o operation, kind trace.SpanKind, task *domain.Task, held domain.TaskState) (context.Context, trace.Span) {
	attrs := append(about(o.attributes(), []*domain.Task{task}), keyAttempt.Int(held.Attempt), keyWorker.String(string(held.Worker)))
	opts := []trace.SpanStartOption{trace.WithSpanKind(kind), trace.WithAttributes(attrs...)}
	if created := t.creationOf(ctx, task); created.IsValid() {
		ctx = trace.ContextWithRemoteSpanContext(ctx, created)
		opts = append(opts, trace.WithLinks(trace.Link{SpanContext: created}))
	}
	return t.tracer.Start(ctx, o.spanName(string(task.Queue())), opts...)
}

// creationOf is the context that the task was created in; it may be none.
func (t *Traces) creationOf(ctx context.Context, task *domain.Task) trace.SpanContext {
	s := task.State()
	ctx = trace.ContextWithSpanContext(ctx, trace.SpanContext{}) // so that nothing else is found
	return trace.SpanContextFromContext(t.context.Extract(ctx, carrier{&s.TraceParent, &s.TraceState}))
}

// follow puts the tasks into the context.
func (t *Traces) follow(ctx context.Context, tasks ...*domain.Task) {
	var parent, state string
	t.context.Inject(ctx, carrier{&parent, &state})
	for _, task := range tasks {
		task.Follow(parent, state)
	}
}

// carrier holds a trace context in two texts.
type carrier struct{ parent, state *string }

var _ propagation.TextMapCarrier = carrier{}

// Get returns a header.
func (c carrier) Get(key string) string {
	if at := c.at(key); at != nil {
		return *at
	}
	return ""
}

// Set keeps a header.
func (c carrier) Set(key, value string) {
	if at := c.at(key); at != nil {
		*at = value
	}
}

// Keys lists the headers.
func (c carrier) Keys() []string { return []string{"traceparent", "tracestate"} }

func (c carrier) at(key string) *string {
	switch key {
	case "traceparent":
		return c.parent
	case "tracestate":
		return c.state
	}
	return nil
}

// end ends a span with what came of it. An exporter would refuse text that is not UTF-8,
// and with it all other spans of its batch.
func end(span trace.Span, err error) {
	if err != nil && span.IsRecording() {
		span.SetStatus(codes.Error, strings.ToValidUTF8(err.Error(), "\uFFFD"))
		span.SetAttributes(errorType(err))
	}
	span.End()
}

// errorType is the code of an error that has one, and the type of others.
func errorType(err error) attribute.KeyValue {
	if public := domain.Public(err); public.Code != domain.CodeInternal {
		return semconv.ErrorTypeKey.String(string(public.Code))
	}
	return semconv.ErrorType(err)
}
