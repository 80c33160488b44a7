package telemetry

import (
	"context"

	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

var _ application.TaskRepository = tracedTasks{}

// Tasks decorates the record of tasks: storing new ones is the span send, and the context
// that they are created in; a claim is receive; storing an outcome is ack or nack.
func (t *Traces) Tasks(next application.TaskRepository) application.TaskRepository {
	if t == nil {
		return next
	}
	return tracedTasks{next, t}
}

// tracedTasks makes spans of what a TaskRepository does.
type tracedTasks struct {
	application.TaskRepository
	traces *Traces
}

// Add stores new tasks that know the span which has sent them.
func (r tracedTasks) Add(ctx context.Context, tasks ...*domain.Task) error {
	ctx, span := r.send(ctx, tasks)
	err := r.TaskRepository.Add(ctx, tasks...)
	end(span, err)
	return err
}

// AddOnce does that once. Tasks that were stored before keep the span that sent them.
func (r tracedTasks) AddOnce(ctx context.Context, k application.IdempotencyKey, tasks ...*domain.Task) (first []*domain.Task, rest []domain.TaskID, err error) {
	ctx, span := r.send(ctx, tasks)
	first, rest, err = r.TaskRepository.AddOnce(ctx, k, tasks...)
	if len(tasks) == 1 && len(first) == 1 { // all else is as in the request before
		span.SetAttributes(semconv.MessagingMessageID(first[0].ID().String()))
	}
	end(span, err)
	return first, rest, err
}

// send starts the span of new tasks. One is enough for a batch, as its context is that of
// every task in it.
func (r tracedTasks) send(ctx context.Context, tasks []*domain.Task) (context.Context, trace.Span) {
	ctx, span := r.traces.tracer.Start(ctx, operationSend.spanName(commonQueue(tasks)),
		trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(about(operationSend.attributes(), tasks)...))
	r.traces.follow(ctx, tasks...)
	return ctx, span
}

// Claim claims. Its span is linked to those that have sent the tasks, as it is of none of
// their traces.
func (r tracedTasks) Claim(ctx context.Context, c application.ClaimRequest) (application.ClaimResult, error) {
	attrs := append(operationReceive.attributes(), keyWorker.String(string(c.Worker)))
	ctx, span := r.traces.tracer.Start(ctx, operationReceive.name, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attrs...))
	result, err := r.TaskRepository.Claim(ctx, c)
	if span.IsRecording() {
		queue := commonQueue(result.Tasks)
		span.SetName(operationReceive.spanName(queue))
		span.SetAttributes(semconv.MessagingBatchMessageCount(len(result.Tasks)))
		if queue != "" {
			span.SetAttributes(semconv.MessagingDestinationName(queue))
		}
		for _, task := range result.Tasks {
			if created := r.traces.creationOf(ctx, task); created.IsValid() {
				span.AddLink(trace.Link{SpanContext: created})
			}
		}
	}
	end(span, err)
	return result, err
}

// Save stores a change of a task; the end of an attempt is a span.
func (r tracedTasks) Save(ctx context.Context, t *domain.Task) error {
	held := t.Stored()
	o, ends := settles(held.Status, t.Status())
	if !ends {
		return r.TaskRepository.Save(ctx, t)
	}
	ctx, span := r.traces.ofAttempt(ctx, o, trace.SpanKindClient, t, held)
	err := r.TaskRepository.Save(ctx, t)
	end(span, err)
	return err
}

// settles says which operation a change is, if it ends an attempt.
func settles(before, after domain.Status) (o operation, ends bool) {
	switch {
	case before != domain.StatusProcessing || after == domain.StatusProcessing:
		return operation{}, false
	case after == domain.StatusCompleted:
		return operationAck, true
	}
	return operationNack, true
}
