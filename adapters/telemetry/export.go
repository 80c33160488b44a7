package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/contrib/exporters/autoexport"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

// exportPatience is how long a program that ends waits for the collector.
const exportPatience = time.Second

// OpenTraces makes a Traces that exports its spans as the OTEL_* variables of the process
// say: OpenTelemetry's libraries read them there. service is its name unless they have
// one. Nothing waits for the collector: while it is away, spans are kept up to a bound and
// then dropped, and one line is logged. Close exports what is left.
func OpenTraces(ctx context.Context, service, version string, log *slog.Logger) (*Traces, error) {
	exporter, err := autoexport.NewSpanExporter(ctx)
	if err != nil {
		return nil, fmt.Errorf("make an exporter of traces: %w", err)
	}
	described, err := resource.New(ctx,
		resource.WithAttributes(semconv.ServiceName(service), semconv.ServiceVersion(version), semconv.ServiceInstanceID(uuid.NewString())),
		resource.WithHost(), resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil && !errors.Is(err, resource.ErrPartialResource) {
		return nil, fmt.Errorf("describe this program to the receiver of its traces: %w", err)
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("OpenTelemetry reports an error", "error", err) }))
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(reportedExporter{exporter, newExports(log)}), sdktrace.WithResource(described))
	traces := NewTraces(provider)
	traces.export = sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), exportPatience)
		defer cancel()
		if err := provider.Shutdown(ctx); err != nil {
			log.Warn("the last spans were not exported", "error", err)
		}
	})
	return traces, nil
}

func newExports(log *slog.Logger) *outages {
	return newOutages(log, "export of traces failing: spans are dropped", "export of traces working again")
}

// reportedExporter logs that exports begin to fail, and that they work again.
type reportedExporter struct {
	sdktrace.SpanExporter
	exports *outages
}

// ExportSpans exports. Its error ends here: whoever calls would log every one.
func (e reportedExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	e.exports.report(ctx, "traces", e.SpanExporter.ExportSpans(ctx, spans))
	return nil
}
