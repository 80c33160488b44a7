package e2e

import (
	"database/sql"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/millrace/millrace/test/services"
)

// deletions are the statements of docs/operations.md: for PostgreSQL, for SQLite.
func deletions(t *testing.T) [2]string {
	t.Helper()
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?ms)^## Deleting ended tasks$.*?^```sql\n(.*?)^```$.*?^```sql\n(.*?)^```$").FindSubmatch(text)
	if found == nil {
		t.Fatal("docs/operations.md does not tell how to delete in both stores")
	}
	return [2]string{string(found[1]), string(found[2])}
}

func TestDeletion_OfOldTasksLeavesTheServiceAtWork(t *testing.T) {
	t.Parallel()
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		url := services.PostgreSQL(t)
		d := deploy(t, url, services.Redis(t))
		d.worker("HANDLER=exec:cat")
		deleteOld(t, d, open(t, url), deletions(t)[0],
			"UPDATE tasks SET created_at = created_at - interval '31 days', updated_at = updated_at - interval '31 days' WHERE message LIKE '%old%'")
	})
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		d := embed(t, dir, "HANDLER=exec:cat")
		db, err := sql.Open("sqlite", filepath.Join(dir, "millrace.db"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		db.SetMaxOpenConns(1) // it is a script for one connection
		if _, err := db.ExecContext(t.Context(), "PRAGMA busy_timeout = 5000"); err != nil {
			t.Fatal(err)
		}
		deleteOld(t, d, db, deletions(t)[1],
			"UPDATE tasks SET created_at = created_at - 31*86400000000, updated_at = updated_at - 31*86400000000 WHERE message LIKE '%old%'")
	})
}

// deleteOld makes some tasks old, runs the deletion, and looks at what is left.
func deleteOld(t *testing.T, d *deployment, db *sql.DB, deletion, age string) {
	t.Helper()
	submit := func(body string) string {
		t.Helper()
		var made task
		d.call(http.MethodPost, "/tasks", body, http.StatusCreated, &made)
		return made.ID
	}
	// Of the old ones only those that have ended go.
	gone := []string{submit(`{"message":"old","metadata":{"customer":"42","tier":"gold"}}`), submit(`{"message":"old, without metadata"}`)}
	canceled := submit(`{"message":"old, canceled","delay":3600,"metadata":{"customer":"42"}}`)
	d.call(http.MethodPatch, "/tasks/"+canceled, `{"status":"canceled"}`, http.StatusOK, nil)
	young := submit(`{"message":"young","metadata":{"customer":"42"}}`)
	pending := submit(`{"message":"old, pending","delay":3600,"metadata":{"customer":"42"}}`)
	for _, id := range []string{gone[0], gone[1], young} {
		d.becomes(id, "completed")
	}
	gone = append(gone, canceled)
	run := func(statement string) {
		t.Helper()
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	run(age)
	run("INSERT INTO attempts (task_id, number, worker, started_at, ended_at, outcome, error) " +
		"SELECT id, 1, 'w', created_at, created_at, 'failed', 'x' FROM tasks")

	run(deletion)
	for _, id := range gone {
		d.call(http.MethodGet, "/tasks/"+id, "", http.StatusNotFound, nil)
		d.call(http.MethodGet, "/tasks/"+id+"/attempts", "", http.StatusNotFound, nil)
	}
	var list struct{ Tasks []task }
	d.call(http.MethodGet, "/tasks?metadata=customer:42", "", http.StatusOK, &list)
	if len(list.Tasks) != 2 || list.Tasks[0].ID != pending || list.Tasks[1].ID != young {
		t.Errorf("left are %+v, not %s and %s", list.Tasks, pending, young)
	}
	for table, want := range map[string]int{"tasks": 2, "task_metadata": 2, "attempts": 2} {
		var n int
		if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM "+table).Scan(&n); err != nil || n != want {
			t.Errorf("%d rows of %s are left, not %d: %v", n, table, want, err)
		}
	}
	run(deletion) // there is nothing left to delete
	d.becomes(d.submit("the next").ID, "completed")
	d.call(http.MethodGet, "/readyz", "", http.StatusOK, nil)
}
