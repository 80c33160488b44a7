package postgres

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/millrace/millrace/adapters/postgres/internal/pgconn"
	"github.com/millrace/millrace/migrations"
)

// migrationTimeout bounds each wait for the server while it migrates: an index
// on a large table takes long.
const migrationTimeout = 30 * time.Minute

// Migrate brings the schema to the version that is embedded here. Any number may
// do so at once: an advisory lock lets one work, and the others find it done. It
// uses a pool of its own, with patience, and ends with ctx.
func Migrate(ctx context.Context, db *DB, log *slog.Logger) error {
	cfg := db.cfg
	cfg.CallTimeout, cfg.MaxConns = migrationTimeout, 2 // goose's lock, and its work
	own, closePool, err := Open(cfg)
	if err != nil {
		return err
	}
	defer closePool()
	// With such patience a server that is away would hold us for long.
	if err := own.Probe(ctx); err != nil {
		return err
	}

	files, err := fs.Sub(migrations.Postgres, "postgres")
	if err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, uint64(migrationTimeout/time.Second)))
	if err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, own.calls.SQL.DB, files, goose.WithSessionLocker(locker))
	if err != nil {
		return fmt.Errorf("postgres: read the migrations: %w", err)
	}
	done, err := provider.Up(ctx)
	for _, m := range done {
		log.InfoContext(ctx, "schema migrated", "version", m.Source.Version, "took", m.Duration.String())
	}
	if err != nil {
		return fmt.Errorf("migrate the schema: %w", pgconn.Translate(err))
	}
	return nil
}

// CheckSchema returns nil if the schema is at least what this program needs, and
// otherwise a domain.ErrUnavailable that says what is missing: wait for it. A
// newer schema is none of our business.
func CheckSchema(ctx context.Context, db *DB) error {
	needed, err := embeddedVersion()
	if err != nil {
		return err
	}
	var there int64
	if err := db.calls.Read(ctx, func(ctx context.Context, q sqlx.QueryerContext) error {
		return sqlx.GetContext(ctx, q, &there, "SELECT coalesce(max(version_id), 0) FROM goose_db_version WHERE is_applied")
	}); err != nil {
		return fmt.Errorf("check the schema: %w", err)
	}
	if there < needed {
		return pgconn.Outage(fmt.Errorf("the schema has version %d and %d is needed: run the migrations", there, needed))
	}
	return nil
}

func embeddedVersion() (int64, error) {
	files, err := fs.Glob(migrations.Postgres, "postgres/*.sql")
	if err != nil || len(files) == 0 {
		return 0, errors.Join(errors.New("postgres: no migrations are embedded"), err)
	}
	return goose.NumericComponent(files[len(files)-1]) // sorted by name, and so by number
}
