//go:build wireinject

package bootstrap

import (
	"github.com/google/wire"

	"github.com/millrace/millrace/adapters/httpapi"
	"github.com/millrace/millrace/adapters/memory"
	"github.com/millrace/millrace/adapters/postgres"
	"github.com/millrace/millrace/adapters/redis"
	"github.com/millrace/millrace/adapters/sqlite"
	"github.com/millrace/millrace/adapters/telemetry"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/dispatch"
	"github.com/millrace/millrace/application/usecase"
	"github.com/millrace/millrace/application/worker"
)

// serverSet is a store and a queue that many processes share.
var serverSet = wire.NewSet(
	providePostgres,
	postgres.NewTaskRepository, provideServerTasks,
	postgres.NewWorkerRepository, wire.Bind(new(application.WorkerRepository), new(*postgres.WorkerRepository)),
	postgres.NewTaskSearch, wire.Bind(new(application.TaskSearch), new(*postgres.TaskSearch)),
	postgres.NewQueueRepository, wire.Bind(new(application.QueueRepository), new(*postgres.QueueRepository)),
	postgres.NewBulkRepository, wire.Bind(new(application.BulkRepository), new(*postgres.BulkRepository)),
	postgres.NewStatisticsRepository, wire.Bind(new(application.StatisticsRepository), new(*postgres.StatisticsRepository)),
	postgres.NewDispatchRepository, wire.Bind(new(application.DispatchRepository), new(*postgres.DispatchRepository)),
	postgres.NewClock, wire.Bind(new(application.Clock), new(*postgres.Clock)),
	wire.Bind(new(usecase.StoreProbe), new(*postgres.DB)),
	provideRedis, redis.NewQueue, provideServerQueue, wire.Bind(new(usecase.QueueProbe), new(*redis.Queue)),
	redis.NewSignals, wire.Bind(new(application.Signals), new(*redis.Signals)),
)

// embeddedSet is a store and a queue inside the process.
var embeddedSet = wire.NewSet(
	provideSQLite,
	sqlite.NewTaskRepository, provideEmbeddedTasks,
	sqlite.NewWorkerRepository, wire.Bind(new(application.WorkerRepository), new(*sqlite.WorkerRepository)),
	sqlite.NewTaskSearch, wire.Bind(new(application.TaskSearch), new(*sqlite.TaskSearch)),
	sqlite.NewQueueRepository, wire.Bind(new(application.QueueRepository), new(*sqlite.QueueRepository)),
	sqlite.NewBulkRepository, wire.Bind(new(application.BulkRepository), new(*sqlite.BulkRepository)),
	sqlite.NewStatisticsRepository, wire.Bind(new(application.StatisticsRepository), new(*sqlite.StatisticsRepository)),
	sqlite.NewDispatchRepository, wire.Bind(new(application.DispatchRepository), new(*sqlite.DispatchRepository)),
	wire.Bind(new(usecase.StoreProbe), new(*sqlite.DB)),
	wire.Value(systemClock{}), wire.Bind(new(application.Clock), new(systemClock)),
	wire.Value(insideQueue{}), wire.Bind(new(usecase.QueueProbe), new(insideQueue)),
	memory.NewQueue, wire.Bind(new(application.Queue), new(*memory.Queue)),
	memory.NewSignals, wire.Bind(new(application.Signals), new(*memory.Signals)),
)

// apiSet is the API on whichever store.
var apiSet = wire.NewSet(
	usecase.NewSubmitTasks, provideLimits,
	usecase.NewGetTask, usecase.NewListTasks, usecase.NewListAttempts,
	usecase.NewCancelTask, usecase.NewReopenTask, usecase.NewDeleteTask, usecase.NewWaitTask, provideWaitLimit,
	usecase.NewManageQueues, usecase.NewBulkTasks, usecase.NewExplainTask, usecase.NewReadStatistics,
	wire.Struct(new(httpapi.UseCases), "*"),
	telemetry.NewStore, wire.Bind(new(httpapi.StoreObserver), new(*telemetry.Store)),
	provideHTTPConfig, httpapi.NewServer,
	wire.Struct(new(apiServer), "*"),
)

// eventsSet hears what happens, logs it, and notes it for readiness.
var eventsSet = wire.NewSet(telemetry.NewLogs, telemetry.NewStatistics, usecase.NewExperience, wire.Bind(new(application.Experience), new(*usecase.Experience)), provideEvents)

// workerSet is a worker and its dispatcher on whichever store.
var workerSet = wire.NewSet(
	provideWorkerInfo, provideWorkerConfig, provideDispatchConfig,
	wire.Struct(new(worker.Deps), "*"), worker.New,
	wire.Struct(new(dispatch.Deps), "*"), dispatch.New,
	wire.Struct(new(workerGroup), "*"),
)
