package bootstrap

import (
	"context"
	"log/slog"
	"strings"

	"go.opentelemetry.io/otel/trace"

	"github.com/millrace/millrace/adapters/postgres"
	"github.com/millrace/millrace/adapters/sqlite"
	"github.com/millrace/millrace/adapters/telemetry"
	"github.com/millrace/millrace/application"
)

// TraceConfig is about traces. Its variables are those of OpenTelemetry, whose libraries
// read them, and many more, from the environment of the process: here they only say
// whether there are traces at all.
type TraceConfig struct {
	TracesExporter string `env:"OTEL_TRACES_EXPORTER" help:"where traces go: otlp, console or none; unset: otlp if one of the endpoints is set, otherwise there are no traces" allowed:"otlp, console or none"`
	OTLPEndpoint   string `env:"OTEL_EXPORTER_OTLP_ENDPOINT" help:"the collector that traces are exported to, such as http://127.0.0.1:4318; unset: no traces" secret:"true"`
	TracesEndpoint string `env:"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" help:"the same, for traces alone, with the path: http://127.0.0.1:4318/v1/traces" secret:"true"`
	SDKDisabled    string `env:"OTEL_SDK_DISABLED" help:"true: no traces, whatever the other variables say"`

	TracerProvider trace.TracerProvider // of a program that embeds Millrace; nil: as the variables say
}

// wantsTraces reports whether the variables say that there are to be traces.
func (c TraceConfig) wantsTraces() bool {
	switch {
	case strings.EqualFold(c.SDKDisabled, "true"), c.TracesExporter == "none":
		return false
	}
	return c.TracesExporter != "" || c.OTLPEndpoint != "" || c.TracesEndpoint != ""
}

// withTraces assembles a program with its traces, nil if there are none, and a log whose
// lines name them. The returned function closes both, the traces last.
func withTraces[T any](cfg TraceConfig, service string, log *slog.Logger,
	assemble func(traces *telemetry.Traces, log *slog.Logger) (T, func(), error),
) (T, func(), error) {
	var none T
	var traces *telemetry.Traces
	switch {
	case cfg.TracerProvider != nil:
		traces = telemetry.NewTraces(cfg.TracerProvider)
	case cfg.wantsTraces():
		var err error
		if traces, err = telemetry.OpenTraces(context.Background(), service, Version(), log); err != nil {
			return none, nil, &SettingError{"OTEL_TRACES_EXPORTER", cfg.TracesExporter, "otlp, console or none: " + err.Error()}
		}
	}
	all, closeAll, err := assemble(traces, traces.Log(log))
	if err != nil {
		traces.Close()
		return none, nil, err
	}
	return all, func() { closeAll(); traces.Close() }, nil
}

func provideServerTasks(tasks *postgres.TaskRepository, traces *telemetry.Traces) application.TaskRepository {
	return traces.Tasks(tasks)
}

func provideEmbeddedTasks(tasks *sqlite.TaskRepository, traces *telemetry.Traces) application.TaskRepository {
	return traces.Tasks(tasks)
}
