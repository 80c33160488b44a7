package telemetry_test

import (
	"context"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/millrace/millrace/adapters/builtin"
	"github.com/millrace/millrace/adapters/telemetry"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// BenchmarkTraces is what they cost beside a store and a handler that do nothing: off, on,
// and on with a sampler that takes nothing.
func BenchmarkTraces(b *testing.B) {
	for name, traces := range map[string]*telemetry.Traces{
		"Off":       nil,
		"On":        telemetry.NewTraces(sdktrace.NewTracerProvider(sdktrace.WithBatcher(nowhere{}))),
		"Unsampled": telemetry.NewTraces(sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample()))),
	} {
		tasks, handler, events := traces.Tasks(nothing{}), traces.Handler(builtin.Noop{}), traces.Events(application.NoEvents{})
		b.Run(name+"/Submit", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = tasks.Add(b.Context(), claimed(b))
			}
		})
		task := claimed(b)
		task.MarkStored()
		ended := task.Clone()
		if err := ended.Complete(1, "", time.Now()); err != nil {
			b.Fatal(err)
		}
		b.Run(name+"/Attempt", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = handler.Handle(events.AttemptStarting(b.Context(), task, 0), task)
				_ = tasks.Save(b.Context(), ended)
			}
		})
	}
}

// nothing is a store that does nothing.
type nothing struct{ application.TaskRepository }

func (nothing) Add(context.Context, ...*domain.Task) error { return nil }

func (nothing) Save(context.Context, *domain.Task) error { return nil }

// nowhere drops the spans.
type nowhere struct{}

func (nowhere) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { return nil }

func (nowhere) Shutdown(context.Context) error { return nil }
