package postgres

import (
	"context"

	"github.com/jmoiron/sqlx"

	"github.com/millrace/millrace/adapters/postgres/internal/pgenc"
	"github.com/millrace/millrace/domain"
)

// loadedAs is what a task has to be in the store, to be stored as it has become. The
// version says so as long as no change is lost: a failover to a standby that had not got
// a claim gives its version, and its attempt, to another claim.
type loadedAs struct {
	Version int64
	Attempt int64
	Worker  string
}

func loadedAsOf(t *domain.Task) loadedAs {
	s := t.Stored()
	return loadedAs{Version: t.StoredVersion(), Attempt: int64(s.Attempt), Worker: string(s.Worker)}
}

// loadedColumns are compared by asLoaded, in this order.
var loadedColumns = []pgenc.Column[written]{
	pgenc.PerRow(pgenc.ColumnOf("loaded_at", pgenc.Int, func(s *written) int64 { return s.loaded.Version })),
	pgenc.ColumnOf("loaded_attempt", pgenc.Int, func(s *written) int64 { return s.loaded.Attempt }),
	pgenc.ColumnOf("loaded_worker", pgenc.Text, func(s *written) string { return s.loaded.Worker }),
}

// asLoaded is true of a row that is as the task was loaded. values are those of loadedColumns.
func asLoaded(values []string) string {
	return "t.version = " + values[0] + " AND t.attempt = " + values[1] + " AND coalesce(t.worker, '') = " + values[2]
}

const loadedSQL = "SELECT t.version, t.attempt, coalesce(t.worker, '') AS worker FROM tasks AS t WHERE t.id = $1"

// isLoaded reports whether the stored task is as t was loaded, or domain.ErrTaskNotFound.
func (r *TaskRepository) isLoaded(ctx context.Context, t *domain.Task) (bool, error) {
	var stored loadedAs
	err := r.db.calls.Read(ctx, func(ctx context.Context, q sqlx.QueryerContext) error {
		return sqlx.GetContext(ctx, q, &stored, loadedSQL, t.ID().String())
	})
	return stored == loadedAsOf(t), err
}
