package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/jmoiron/sqlx"

	"github.com/millrace/millrace/adapters/internal/schema"
	"github.com/millrace/millrace/adapters/postgres/internal/pgconn"
	"github.com/millrace/millrace/domain"
)

// needed are the rights that our role needs, by table; the suite of the ports runs with
// these and no others. To lock a row takes UPDATE.
var needed = []struct{ table, rights string }{
	{"attempts", "SELECT, INSERT"},
	{"bulks", "SELECT, INSERT, UPDATE"},
	{"idempotency_keys", "SELECT, INSERT, UPDATE, DELETE"},
	{"millrace_installation", "SELECT"},
	{schema.VersionTable, "SELECT"},
	{"millrace_sweeps", "SELECT, UPDATE"},
	{"queues", "SELECT, INSERT, UPDATE"},
	{"task_metadata", "SELECT, INSERT"},
	{"tasks", "SELECT, INSERT, UPDATE"},
	{"workers", "SELECT, INSERT, UPDATE, DELETE"},
}

// missingSQL asks which of the rights our role does not have.
var missingSQL = func() string {
	var values []string
	for _, n := range needed {
		for right := range strings.SplitSeq(n.rights, ", ") {
			values = append(values, fmt.Sprintf("('%s', '%s')", n.table, right))
		}
	}
	return `SELECT n.r || ' on ' || n.t FROM (VALUES ` + strings.Join(values, ", ") + `) AS n(t, r)
		WHERE NOT has_table_privilege(n.t, n.r) ORDER BY n.t, n.r`
}()

// missingRights is what our role may not do and has to, in words; empty: nothing.
func (db *DB) missingRights(ctx context.Context) (string, error) {
	var missing []string
	err := db.calls.Read(ctx, func(ctx context.Context, q sqlx.QueryerContext) error {
		return sqlx.SelectContext(ctx, q, &missing, missingSQL)
	})
	if err != nil || len(missing) == 0 {
		return "", err
	}
	return "the role of DATABASE_URL lacks rights: " + strings.Join(missing, ", "), nil
}

// CheckRights is for the start of a program, once there is a schema: it returns an error
// that names the rights which our role lacks.
func CheckRights(ctx context.Context, db *DB) error {
	switch missing, err := db.missingRights(ctx); {
	case err != nil:
		return pgconn.AtStart(err)
	case missing != "":
		return fmt.Errorf("%s; grant them", missing)
	}
	return nil
}

// proveRights proves that nobody has taken a right away since the start.
func (db *DB) proveRights(ctx context.Context) error {
	missing, err := db.missingRights(ctx)
	if err == nil && missing != "" {
		err = domain.Errorf(domain.CodeUnavailable, "%s", missing)
	}
	return err
}
