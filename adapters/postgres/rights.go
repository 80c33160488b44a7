package postgres

import (
	"context"
	"fmt"
	"slices"
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
	{"task_metadata", "SELECT, INSERT, DELETE"},
	{"tasks", "SELECT, INSERT, UPDATE, DELETE"},
	{"workers", "SELECT, INSERT, UPDATE, DELETE"},
}

// sideTables are those without whose rights tasks are submitted and run all the same: all
// of them, or those that have no idempotency key and no metadata.
var sideTables = map[string]bool{
	"bulks": true, "idempotency_keys": true, "millrace_installation": true, "millrace_sweeps": true,
	schema.VersionTable: true, "task_metadata": true,
}

// isSide reports whether tasks run without the right: one on a side table, or the right to
// delete tasks that have ended.
func isSide(table, right string) bool {
	return sideTables[table] || table == "tasks" && right == "DELETE"
}

// missingSQL asks which of the rights our role does not have. Of a table that is not there
// it has none. To ask takes no lock on the table.
var missingSQL = func() string {
	var values []string
	for _, n := range needed {
		for right := range strings.SplitSeq(n.rights, ", ") {
			values = append(values, fmt.Sprintf("('%s', '%s')", n.table, right))
		}
	}
	return `SELECT n.t, n.r, to_regclass(n.t) IS NULL AS absent FROM (VALUES ` + strings.Join(values, ", ") + `) AS n(t, r)
		WHERE NOT coalesce(has_table_privilege(to_regclass(n.t), n.r), false) ORDER BY n.t, n.r`
}()

// missingRights is what our role may not do and has to, in words, of those rights; empty:
// nothing.
func (db *DB) missingRights(ctx context.Context, of func(table, right string) bool) (string, error) {
	var missing []struct {
		Table  string `db:"t"`
		Right  string `db:"r"`
		Absent bool
	}
	err := db.calls.Read(ctx, func(ctx context.Context, q sqlx.QueryerContext) error {
		return sqlx.SelectContext(ctx, q, &missing, missingSQL)
	})
	if err != nil {
		return "", err
	}
	var rights, tables []string
	for _, m := range missing {
		switch {
		case !of(m.Table, m.Right):
		case !m.Absent:
			rights = append(rights, m.Right+" on "+m.Table)
		case !slices.Contains(tables, m.Table):
			tables = append(tables, m.Table)
		}
	}
	switch {
	case len(tables) > 0:
		return "there is no table " + strings.Join(tables, ", "), nil
	case len(rights) > 0:
		return "the role of DATABASE_URL lacks rights: " + strings.Join(rights, ", "), nil
	}
	return "", nil
}

// CheckRights is for the start of a program, once there is a schema: it returns an error
// that names the rights which our role lacks.
func CheckRights(ctx context.Context, db *DB) error {
	switch missing, err := db.missingRights(ctx, func(string, string) bool { return true }); {
	case err != nil:
		return pgconn.AtStart(err)
	case missing != "":
		return fmt.Errorf("%s; grant them", missing)
	}
	return nil
}

// proveRights proves that nobody has taken away a right since the start without which no
// task runs.
func (db *DB) proveRights(ctx context.Context) error {
	missing, err := db.missingRights(ctx, func(table, right string) bool { return !isSide(table, right) })
	if err == nil && missing != "" {
		err = domain.Errorf(domain.CodeUnavailable, "%s", missing)
	}
	return err
}
