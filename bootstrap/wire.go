//go:build wireinject

package bootstrap

import (
	"log/slog"

	"github.com/google/wire"

	"github.com/millrace/millrace/adapters/postgres"
	"github.com/millrace/millrace/adapters/telemetry"
	"github.com/millrace/millrace/application"
)

func newAPI(cfg APIConfig, traces *telemetry.Traces, log *slog.Logger, local postgres.LocalTime) (*API, func(), error) {
	wire.Build(
		wire.FieldsOf(new(APIConfig), "ServerConfig", "HTTPConfig", "SubmitConfig", "AccessConfig", "MigrateConfig", "StopConfig"),
		serverSet, apiSet, eventsSet, provideAPIReadiness, provideAPI,
	)
	return nil, nil, nil
}

func newWorker(cfg WorkerConfig, traces *telemetry.Traces, handler application.Handler, log *slog.Logger, local postgres.LocalTime) (*Worker, func(), error) {
	wire.Build(
		wire.FieldsOf(new(WorkerConfig), "ServerConfig", "WorkConfig", "AdminConfig", "StopConfig"),
		serverSet, workerSet, eventsSet, provideWorkerReadiness, provideWorker,
	)
	return nil, nil, nil
}

func newEmbedded(cfg EmbeddedConfig, traces *telemetry.Traces, handler application.Handler, log *slog.Logger) (*Embedded, func(), error) {
	wire.Build(
		wire.FieldsOf(new(EmbeddedConfig), "StoreConfig", "HTTPConfig", "SubmitConfig", "AccessConfig", "WorkConfig", "StopConfig"),
		embeddedSet, apiSet, workerSet, eventsSet, provideEmbeddedReadiness, provideEmbedded,
	)
	return nil, nil, nil
}
