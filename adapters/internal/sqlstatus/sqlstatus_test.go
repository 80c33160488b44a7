package sqlstatus_test

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/millrace/millrace/adapters/internal/sqlstatus"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/migrations"
)

// A condition that is not that of an index would read all tasks.
func TestConditions_AreThoseOfThePartialIndexes(t *testing.T) {
	for dialect, files := range map[string]fs.FS{"postgres": migrations.Postgres, "sqlite": migrations.SQLite} {
		schema := schemaOf(t, files)
		for name, condition := range map[string]string{
			"held":     sqlstatus.Held(""),
			"queued":   sqlstatus.Queued(""),
			"unqueued": sqlstatus.Unqueued(""),
			"failed":   sqlstatus.Is("", domain.StatusFailed),
			"canceled": sqlstatus.Is("", domain.StatusCanceled),
		} {
			if !strings.Contains(schema, " WHERE "+condition+";") {
				t.Errorf("%s: no index of what is %s: %s", dialect, name, condition)
			}
		}
		open := strings.Trim(sqlstatus.Is("", sqlstatus.Open()...), "()")
		if dialect == "sqlite" && !strings.Contains(schema, " WHERE "+open+";") {
			t.Errorf("%s: no index of what is open: %s", dialect, open)
		}
	}
}

// schemaOf is the text of all migrations, with single spaces.
func schemaOf(t *testing.T, files fs.FS) string {
	t.Helper()
	names, err := fs.Glob(files, "*/*.sql")
	if err != nil || len(names) == 0 {
		t.Fatalf("migrations: %v, %v", names, err)
	}
	var all strings.Builder
	for _, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return strings.Join(strings.Fields(all.String()), " ")
}

func TestConditions_AreQualified(t *testing.T) {
	if got, want := sqlstatus.Queued("t."), "t.status = 'pending' AND t.queued_at IS NOT NULL"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := sqlstatus.Is("t.", sqlstatus.Open()...), "(t.status = 'pending' OR t.status = 'processing')"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
