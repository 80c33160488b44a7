package bootstrap

import (
	"context"
	"fmt"
	"log/slog"
	"net"

	"github.com/millrace/millrace/adapters/sqlite"
	"github.com/millrace/millrace/adapters/telemetry"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// Embedded is cmd/millrace, assembled: API and worker in one process.
type Embedded struct {
	db         *sqlite.DB
	server     *apiServer
	group      *workerGroup
	statistics *telemetry.Statistics
	log        *slog.Logger
	admin      *adminServer
	traces     *telemetry.Traces
}

// NewEmbedded assembles API and worker on the embedded store, with the handler
// that the settings name; the returned function closes what they hold.
func NewEmbedded(cfg EmbeddedConfig, log *slog.Logger) (*Embedded, func(), error) {
	return withTraces(cfg.TraceConfig, serviceEmbedded, log, func(traces *telemetry.Traces, log *slog.Logger) (*Embedded, func(), error) {
		return withHandler(cfg.WorkConfig, log, func(h application.Handler) (*Embedded, func(), error) {
			return newEmbeddedOf(cfg, traces, h, log)
		})
	})
}

// NewEmbeddedWith assembles them with a handler of the caller's.
func NewEmbeddedWith(cfg EmbeddedConfig, handler application.Handler, log *slog.Logger) (*Embedded, func(), error) {
	return withTraces(cfg.TraceConfig, serviceEmbedded, log, func(traces *telemetry.Traces, log *slog.Logger) (*Embedded, func(), error) {
		return newEmbeddedOf(cfg, traces, handler, log)
	})
}

// serviceEmbedded is the name in traces of API and worker in one process.
const serviceEmbedded = "millrace"

func newEmbeddedOf(cfg EmbeddedConfig, traces *telemetry.Traces, handler application.Handler, log *slog.Logger) (*Embedded, func(), error) {
	e, closeAll, err := newEmbedded(cfg, traces, traces.Handler(handler), log)
	if err == nil {
		e.group.startLine, e.traces = cfg.startLine(), traces
	}
	return e, closeAll, err
}

func provideEmbedded(db *sqlite.DB, server *apiServer, admin *adminServer, group *workerGroup,
	statistics *telemetry.Statistics, log *slog.Logger,
) *Embedded {
	return &Embedded{db: db, server: server, admin: admin, group: group, statistics: statistics, log: log}
}

// Run migrates the store, recovers the tasks of an earlier process, and serves until ctx
// ends. It calls ready with the address once the API listens.
func (e *Embedded) Run(ctx context.Context, ready func(net.Addr)) error {
	if err := sqlite.Migrate(ctx, e.db, e.log); err != nil {
		return fmt.Errorf("migrate the store: %w", err)
	}
	if err := e.recover(ctx); err != nil {
		lastWords(ctx, e.statistics, e.traces) // of what it has rescued before
		return fmt.Errorf("recover the tasks of the last process: %w", err)
	}
	go func() {
		select {
		case addr := <-e.server.Server.Listening():
			ready(addr)
		case <-ctx.Done():
		}
	}()
	return e.admin.around(ctx, e.run)
}

func (e *Embedded) run(ctx context.Context) error {
	defer lastWords(ctx, e.statistics, e.traces)
	return runAll(ctx, e.server.run, func(ctx context.Context) { runWithBackground(ctx, e.statistics.Run, e.group.run) })
}

// recover rescues the tasks that an earlier process was processing when it died, and
// fills the queue, which is empty. The lock on the file guarantees that no other process
// holds a task.
func (e *Embedded) recover(ctx context.Context) error {
	dispatcher, rescued := e.group.Dispatcher, 0
	err := sqlite.Recover(ctx, e.db, dispatcher.Rescue, func(tasks []*domain.Task) {
		rescued += len(tasks)
		dispatcher.TellRescued(ctx, tasks)
	})
	if rescued > 0 {
		e.log.Info("rescued the tasks of the previous process", "tasks", rescued)
	}
	if err != nil {
		return err
	}
	return dispatcher.Refill(ctx)
}

var _ application.Clock = systemClock{}
