package bootstrap

import (
	"context"
	"fmt"
	"log/slog"
	"net"

	"github.com/millrace/millrace/adapters/sqlite"
	"github.com/millrace/millrace/application"
)

// Embedded is cmd/millrace, assembled: API and worker in one process.
type Embedded struct {
	db     *sqlite.DB
	server *apiServer
	group  *workerGroup
	log    *slog.Logger
}

// NewEmbedded assembles API and worker on the embedded store, with the handler
// that the settings name; the returned function closes what they hold.
func NewEmbedded(cfg EmbeddedConfig, log *slog.Logger) (*Embedded, func(), error) {
	return withHandler(cfg.WorkConfig, log, func(h application.Handler) (*Embedded, func(), error) {
		return newEmbedded(cfg, h, log)
	})
}

// NewEmbeddedWith assembles them with a handler of the caller's.
func NewEmbeddedWith(cfg EmbeddedConfig, handler application.Handler, log *slog.Logger) (*Embedded, func(), error) {
	return newEmbedded(cfg, handler, log)
}

func provideEmbedded(db *sqlite.DB, server *apiServer, group *workerGroup, log *slog.Logger) *Embedded {
	return &Embedded{db: db, server: server, group: group, log: log}
}

// Run brings the store up to date, takes up what an earlier process left, and
// serves until ctx ends. ready is told the address once the API listens.
func (e *Embedded) Run(ctx context.Context, ready func(net.Addr)) error {
	if err := sqlite.Migrate(ctx, e.db, e.log); err != nil {
		return fmt.Errorf("bring the store up to date: %w", err)
	}
	if err := e.recover(ctx); err != nil {
		return fmt.Errorf("take up what was left: %w", err)
	}
	go func() {
		select {
		case addr := <-e.server.Server.Listening():
			ready(addr)
		case <-ctx.Done():
		}
	}()
	return runAll(ctx, e.server.run, e.group.run)
}

// recover makes what was processing when an earlier process died pending again,
// and fills the queue, which is empty. The lock on the file says that nobody
// else holds a task.
func (e *Embedded) recover(ctx context.Context) error {
	taken, err := sqlite.Recover(ctx, e.db, e.group.Dispatcher.Rescue)
	if err != nil {
		return err
	}
	if taken > 0 {
		e.log.Info("took back what was processing when the last process ended", "tasks", taken)
	}
	return e.group.Dispatcher.Refill(ctx)
}

var _ application.Clock = systemClock{}
