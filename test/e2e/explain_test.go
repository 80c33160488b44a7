package e2e

import (
	"strings"
	"testing"

	"github.com/millrace/millrace/test/programs"
	"github.com/millrace/millrace/test/services"
)

// wantExplained waits until the explanation says that.
func (d *deployment) wantExplained(id, want string) {
	d.t.Helper()
	programs.Eventually(d.t, programs.Patience, "explain says: "+want, func() bool {
		return strings.Contains(d.explanation(id), want)
	})
}

// A database that answers every question and takes no writes: the task is due, and nobody
// is about to queue it.
func TestExplain_SaysThatTheDatabaseTakesNoWrites(t *testing.T) {
	t.Parallel()
	server := services.StartPostgreSQL(t)
	d := deploy(t, server.URL("postgres"), services.Redis(t))
	d.submit("first")
	id := d.submit("second").ID
	db := open(t, server.URL("postgres")+"&default_transaction_read_only=off")
	exec := func(statements ...string) {
		t.Helper()
		for _, statement := range statements {
			if _, err := db.ExecContext(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
		}
	}
	d.wantExplained(id, "1 task in the queue default is ahead of it.")
	exec("ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
	d.wantExplained(id, "The store takes no tasks: PostgreSQL refuses: cannot execute SELECT in a read-only transaction (SQLSTATE 25006).")
	exec("ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()")
	programs.Eventually(t, programs.Patience, "it takes tasks again", func() bool { return !strings.Contains(d.explanation(id), "takes no tasks") })

	lock, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lock.ExecContext(t.Context(), "LOCK TABLE tasks IN SHARE MODE"); err != nil {
		t.Fatal(err)
	}
	d.wantExplained(id, "The store takes no tasks: somebody has locked the table tasks: PostgreSQL refuses: "+
		"canceling statement due to lock timeout (SQLSTATE 55P03).")
	if err := lock.Rollback(); err != nil {
		t.Fatal(err)
	}
	programs.Eventually(t, programs.Patience, "it takes tasks again", func() bool { return !strings.Contains(d.explanation(id), "takes no tasks") })
}
