package pgconn

import (
	"context"
	"database/sql"
	"database/sql/driver"

	"github.com/XSAM/otelsql"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// openDB opens a pool of the connector's connections. With traces, a statement that runs
// in a trace is a span of it, with its text, which holds no values. Statements of loops
// are in no trace: a span of each would say nothing of any task.
func openDB(c driver.Connector, traces trace.TracerProvider) *sql.DB {
	if traces == nil {
		return sql.OpenDB(c)
	}
	inTrace := func(ctx context.Context, _ otelsql.Method, _ string, _ []driver.NamedValue) bool {
		return trace.SpanContextFromContext(ctx).IsValid()
	}
	return otelsql.OpenDB(c, otelsql.WithTracerProvider(traces), otelsql.WithMeterProvider(metricnoop.NewMeterProvider()),
		otelsql.WithAttributes(semconv.DBSystemNamePostgreSQL),
		otelsql.WithSpanOptions(otelsql.SpanOptions{
			DisableErrSkip: true, OmitConnResetSession: true, OmitConnPrepare: true, OmitRows: true, OmitConnectorConnect: true,
			SpanFilter: inTrace,
		}))
}
