package postgres

import (
	"strings"
	"testing"

	"github.com/millrace/millrace/test/services"
)

func TestQueuePrefix_IsOfTheDatabase(t *testing.T) {
	db, other := migrated(t, Config{URL: services.PostgreSQL(t)}), migrated(t, Config{URL: services.PostgreSQL(t)})
	prefixOf := func(db *DB) string {
		t.Helper()
		prefix, err := QueuePrefix(t.Context(), db)
		if err != nil {
			t.Fatal(err)
		}
		return prefix
	}
	first := prefixOf(db)
	if again := prefixOf(db); again != first || !strings.HasPrefix(first, legacyPrefix) || len(first) != len(legacyPrefix)+13 {
		t.Errorf("the prefix is %q, and then %q", first, again)
	}
	if theirs := prefixOf(other); theirs == first {
		t.Errorf("two databases have the prefix %q", theirs)
	}
	var id string
	if err := db.calls.SQL.Get(&id, "SELECT id FROM millrace_installation"); err != nil {
		t.Fatal(err)
	}
	other.calls.SQL.MustExec("UPDATE millrace_installation SET id = $1", id) // a copy under another name
	if theirs := prefixOf(other); theirs == first {
		t.Errorf("a copy has the prefix %q of its original", theirs)
	}
	db.calls.SQL.MustExec("UPDATE millrace_installation SET queue_prefix = 'chosen:'")
	if got := prefixOf(db); got != "chosen:" {
		t.Errorf("the prefix is %q, not the one that was chosen", got)
	}
	db.calls.SQL.MustExec("DELETE FROM millrace_installation")
	if got := prefixOf(db); got != legacyPrefix {
		t.Errorf("without a row the prefix is %q", got)
	}
}
