package sqlite

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/pressly/goose/v3"

	"github.com/millrace/millrace/adapters/internal/schema"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/migrations"
)

// What is wrong with a schema, and what to do about it. /readyz shows it.
var (
	errNoSchema = domain.Errorf(domain.CodeUnavailable,
		"the schema is missing or older than this program needs: restart the program, which migrates when it starts")
	errDamagedSchema = domain.Errorf(domain.CodeUnavailable,
		"a table is missing although its migration is recorded: restore the file from a backup")
)

// dialect is how SQLite keeps the schema.
func dialect() (schema.Dialect, error) {
	files, err := fs.Sub(migrations.SQLite, "sqlite")
	if err != nil {
		return schema.Dialect{}, fmt.Errorf("sqlite: %w", err)
	}
	return schema.Dialect{Name: goose.DialectSQLite3, Files: files, RelationsSQL: "SELECT name FROM sqlite_master"}, nil
}

// Migrate brings the file to the schema that this program needs. A file that an
// earlier Millrace has migrated is adopted. If a table of another program has the name
// of one of ours, that is an error.
func Migrate(ctx context.Context, db *DB, log *slog.Logger) error {
	d, err := dialect()
	if err != nil {
		return err
	}
	if err := d.CheckOwner(ctx, db.writer); err != nil {
		return fmt.Errorf("migrate: %w", db.translate(err))
	}
	provider, err := d.Provider(db.writer.DB, goose.WithSlog(log))
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	results, err := provider.Up(ctx)
	if err != nil {
		return fmt.Errorf("migrate: %w", db.translate(err))
	}
	for _, r := range results {
		log.InfoContext(ctx, "schema migrated", "file", r.Source.Path, "took", r.Duration.String())
	}
	return nil
}

// checkSchema reports whether the file answers and has the schema that this program needs.
func (db *DB) checkSchema(ctx context.Context) error {
	missing := db.checkVersion(ctx, schema.ProbeSQL)
	if !aboutStatement(missing) {
		return missing
	}
	if err := db.checkVersion(ctx, schema.VersionSQL); err == nil {
		return schema.Unready(errDamagedSchema, missing)
	} else if !aboutStatement(err) {
		return err
	}
	return schema.Unready(errNoSchema, missing)
}

// checkVersion runs a query for the version.
func (db *DB) checkVersion(ctx context.Context, query string) error {
	d, err := dialect()
	if err != nil {
		return err
	}
	needed, err := d.Version()
	if err != nil {
		return fmt.Errorf("sqlite: %w", err)
	}
	if err := db.file.check(); err != nil {
		return err
	}
	var there int64
	if err := db.reader.GetContext(ctx, &there, query); err != nil {
		return fmt.Errorf("probe database: %w", db.translate(err))
	}
	if there < needed {
		return schema.Unready(errNoSchema, fmt.Errorf("it has version %d and %d is needed", there, needed))
	}
	return nil
}
