package postgres

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/jmoiron/sqlx"

	"github.com/millrace/millrace/adapters/postgres/internal/pgconn"
)

// UnfitError reports at the start of a program that it must not run on what
// Config.URL leads to. Its Want says what to set.
type UnfitError = pgconn.UnfitError

// serverSQL asks for what a program relies on and cannot set for its sessions.
// reset_val is what other sessions have.
const serverSQL = `SELECT current_setting('server_encoding') AS encoding, coalesce(current_schema(), '') AS schema,
	current_setting('search_path') AS search_path, current_setting('fsync') = 'off' AS no_fsync,
	current_setting('full_page_writes') = 'off' AS no_full_pages,
	coalesce((SELECT reset_val FROM pg_catalog.pg_settings WHERE name = 'synchronous_commit'), '') = 'off' AS no_sync`

type serverFacts struct {
	Encoding    string
	Schema      string
	SearchPath  string `db:"search_path"`
	NoFsync     bool   `db:"no_fsync"`
	NoFullPages bool   `db:"no_full_pages"`
	NoSync      bool   `db:"no_sync"`
}

// CheckServer is for the start of a program: it reports whether the server answers, and
// whether tasks may be entrusted to the database. What may lose them in a crash of the
// server's machine is warned of. A domain.ErrUnavailable means to wait, an UnfitError
// that a setting is wrong. Any other error is one that waiting does not help either.
func CheckServer(ctx context.Context, db *DB, log *slog.Logger) error {
	var facts serverFacts
	if err := db.calls.Read(ctx, func(ctx context.Context, q sqlx.QueryerContext) error {
		return sqlx.GetContext(ctx, q, &facts, serverSQL)
	}); err != nil {
		return pgconn.AtStart(err)
	}
	if facts.Encoding != "UTF8" {
		return fmt.Errorf("the database has the encoding %s, which cannot store every message: create one with ENCODING 'UTF8'", facts.Encoding)
	}
	if facts.Schema == "" {
		return fmt.Errorf("no schema of search_path (%s) exists and may be used: create one (CREATE SCHEMA), or correct search_path in DATABASE_URL", facts.SearchPath)
	}
	pooled, err := db.calls.ProvePrepared(ctx)
	if err != nil {
		return err
	}
	if pooled {
		if err := warnOfRole(ctx, db, log); err != nil {
			return err
		}
	}
	warn := func(setting string) {
		log.WarnContext(ctx, "a crash of the database's machine may lose or damage tasks", "setting", setting, "value", "off", "want", "on")
	}
	if facts.NoFsync {
		warn("fsync")
	}
	if facts.NoFullPages {
		warn("full_page_writes")
	}
	if facts.NoSync {
		log.InfoContext(ctx, "session setting raised: the database's default would lose answered tasks in a crash",
			"setting", "synchronous_commit", "default", "off", "value", "on")
	}
	return nil
}

// warnOfRole warns if our role lacks settings that a pool does not pass on.
func warnOfRole(ctx context.Context, db *DB, log *slog.Logger) error {
	missing, err := db.calls.RoleSettings(ctx)
	if err == nil && len(missing) > 0 {
		log.WarnContext(ctx, "a connection pool does not pass session settings on to the database: set them on the role",
			"statements", strings.Join(missing, "; "))
	}
	return err
}
