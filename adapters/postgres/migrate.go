package postgres

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/millrace/millrace/adapters/internal/schema"
	"github.com/millrace/millrace/adapters/postgres/internal/pgconn"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/migrations"
)

// migrationTimeout bounds each wait for the server while it migrates: an index
// on a large table takes long.
const migrationTimeout = 30 * time.Minute

// What is wrong with a schema, and what to do about it. /readyz shows it.
var (
	errNoSchema = domain.Errorf(domain.CodeUnavailable,
		"the schema is missing or older than this program needs: run the migrations (api migrate)")
	errDamagedSchema = domain.Errorf(domain.CodeUnavailable,
		"a table is missing although its migration is recorded: restore the database from a backup")
)

// dialect is how PostgreSQL keeps the schema: in the first schema of the search path.
func dialect() (schema.Dialect, error) {
	files, err := fs.Sub(migrations.Postgres, "postgres")
	if err != nil {
		return schema.Dialect{}, fmt.Errorf("postgres: %w", err)
	}
	return schema.Dialect{Name: goose.DialectPostgres, Files: files, RelationsSQL: `SELECT c.relname FROM pg_catalog.pg_class AS c
		JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = current_schema()`}, nil
}

// Migrate brings the schema to the version that is embedded here. Any number may
// do so at once: an advisory lock lets one work, and the others find it done. It
// uses a pool of its own, with patience, and ends with ctx.
//
// A database that an earlier Millrace has migrated is adopted, and one that another
// program has migrated is left alone but for new tables beside its own. If a table of
// another program has the name of one of ours, that is an error.
func Migrate(ctx context.Context, db *DB, log *slog.Logger) error {
	cfg := db.cfg
	cfg.CallTimeout, cfg.MaxConns = migrationTimeout, 2 // goose's lock, and its work
	own, closePool, err := Open(cfg)
	if err != nil {
		return err
	}
	defer closePool()
	// With such patience a server that is away would hold us for long. A call has time
	// for a slow link, as a probe has not.
	if err := db.calls.Read(ctx, func(ctx context.Context, q sqlx.QueryerContext) error {
		var one int
		return sqlx.GetContext(ctx, q, &one, `SELECT 1`)
	}); err != nil {
		return err
	}

	d, err := dialect()
	if err != nil {
		return err
	}
	if err := d.CheckOwner(ctx, own.calls.SQL); err != nil {
		return fmt.Errorf("migrate the schema: %w", pgconn.AtStart(pgconn.Translate(err)))
	}
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, uint64(migrationTimeout/time.Second)))
	if err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	provider, err := d.Provider(own.calls.SQL.DB, goose.WithSessionLocker(locker))
	if err != nil {
		return fmt.Errorf("postgres: read the migrations: %w", err)
	}
	done, err := provider.Up(ctx)
	for _, m := range done {
		log.InfoContext(ctx, "schema migrated", "version", m.Source.Version, "took", m.Duration.String())
	}
	if err != nil {
		return fmt.Errorf("migrate the schema: %w", pgconn.AtStart(pgconn.Translate(err)))
	}
	return nil
}

// CheckSchema returns nil if the schema is at least what this program needs. Otherwise
// it returns a domain.ErrUnavailable that says what is missing: wait for it. A newer
// schema is none of our business. Any other error says that waiting does not help, as
// with tables of another program.
//
// It reads the version and the catalogs, and no other table, which somebody may have locked.
func CheckSchema(ctx context.Context, db *DB) error {
	missing, err := db.missingTables(ctx)
	if err != nil {
		return pgconn.AtStart(err)
	}
	if !slices.Contains(missing, schema.VersionTable) {
		if err := db.checkVersion(ctx); err != nil || len(missing) == 0 {
			return pgconn.AtStart(err)
		}
		return schema.Unready(errDamagedSchema, noTable(missing))
	}
	d, err := dialect()
	if err != nil {
		return err
	}
	if err := db.calls.Read(ctx, func(ctx context.Context, _ sqlx.QueryerContext) error {
		return d.CheckOwner(ctx, db.calls.SQL)
	}); err != nil {
		return fmt.Errorf("check the schema: %w", pgconn.AtStart(err))
	}
	return schema.Unready(errNoSchema, noTable(missing))
}

// checkSchema is CheckSchema for a program that runs. Once the schema was right, it looks
// at the catalogs alone: no lock on a table keeps it from them.
func (db *DB) checkSchema(ctx context.Context) error {
	if db.schemaSeen.Load() {
		missing, err := db.missingTables(ctx)
		if err != nil || len(missing) == 0 {
			return err
		}
	}
	err := CheckSchema(ctx, db)
	db.schemaSeen.Store(err == nil)
	return err
}

// missingTablesSQL asks which tables are not there. To look for one by its name takes no
// lock on it.
var missingTablesSQL = `SELECT n.t FROM (VALUES ('` + strings.Join(schema.Tables(), "'), ('") + `')) AS n(t)
	WHERE to_regclass(n.t) IS NULL ORDER BY n.t`

func (db *DB) missingTables(ctx context.Context) (missing []string, err error) {
	if err := db.calls.Read(ctx, func(ctx context.Context, q sqlx.QueryerContext) error {
		return sqlx.SelectContext(ctx, q, &missing, missingTablesSQL)
	}); err != nil {
		return nil, fmt.Errorf("check the schema: %w", err)
	}
	return missing, nil
}

// noTable says which tables are not there.
func noTable(names []string) error {
	return fmt.Errorf("there is no table %s", strings.Join(names, ", "))
}

// checkVersion checks the version that is recorded.
func (db *DB) checkVersion(ctx context.Context) error {
	d, err := dialect()
	if err != nil {
		return err
	}
	needed, err := d.Version()
	if err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	var there int64
	if err := db.calls.Read(ctx, func(ctx context.Context, q sqlx.QueryerContext) error {
		return sqlx.GetContext(ctx, q, &there, schema.VersionSQL)
	}); err != nil {
		return fmt.Errorf("check the schema: %w", err)
	}
	if there < needed {
		return schema.Unready(errNoSchema, fmt.Errorf("it has version %d and %d is needed", there, needed))
	}
	return nil
}
