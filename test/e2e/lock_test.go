package e2e

import (
	"database/sql"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/test/programs"
	"github.com/millrace/millrace/test/services"
)

// sessions counts those that Millrace has with the database, waiting ones included.
func sessions(t *testing.T, db *sql.DB) int {
	t.Helper()
	var n int
	if err := db.QueryRowContext(t.Context(), `SELECT count(*) FROM pg_stat_activity
		WHERE datname = current_database() AND application_name = 'millrace'`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// A plain CREATE INDEX locks a table like that: nobody may write, for a while.
func TestService_OutlastsATableLockWithTheConnectionsThatAreDocumented(t *testing.T) {
	t.Parallel()
	const documented = 10 + 10 + 2 // of an API, and of a worker with its heartbeats
	for _, mode := range []string{"SHARE", "ACCESS EXCLUSIVE"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			database := services.PostgreSQL(t)
			d := deploy(t, database, services.Redis(t))
			admin := programs.FreeAddr(t)
			d.worker("HANDLER=sleep:1s", "WORKER_QUEUE_MAXSIZE=20", "LEASE_TIMEOUT=10s", "ADMIN_ADDR="+admin)
			programs.WaitReady(t, admin)
			var ids []string
			for n := range 40 {
				ids = append(ids, d.submit(fmt.Sprint("task ", n)).ID)
			}
			db := open(t, database)
			lock, err := db.BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := lock.ExecContext(t.Context(), "LOCK TABLE tasks IN "+mode+" MODE"); err != nil {
				t.Fatal(err)
			}
			end := time.Now().Add(20 * time.Second)
			var posts sync.WaitGroup
			for n := range 20 {
				posts.Go(func() {
					for time.Now().Before(end) {
						method, path, body := http.MethodPost, "/tasks", `{"message":"meanwhile"}`
						switch n % 4 {
						case 1:
							path, body = "/tasks/bulk", `{"action":"cancel","filter":{"queue":["none"]}}`
						case 2:
							method, path, body = http.MethodPatch, "/tasks/"+ids[n], `{"status":"canceled"}`
						case 3:
							method, path, body = http.MethodGet, "/tasks", ""
						}
						if status, text := call(t, "http://"+d.addr, method, path, body); status >= 500 && status != http.StatusServiceUnavailable {
							t.Errorf("behind the lock: %s %s: %d: %s", method, path, status, text)
						}
					}
				})
			}
			most := 0
			for time.Now().Before(end) {
				most = max(most, sessions(t, db))
				time.Sleep(50 * time.Millisecond)
			}
			if err := lock.Rollback(); err != nil {
				t.Fatal(err)
			}
			posts.Wait()
			t.Logf("at most %d sessions", most)
			if most > documented {
				t.Errorf("%d sessions, where %d are documented", most, documented)
			}
			for _, id := range ids {
				programs.Eventually(t, programs.Patience, "the task ends", func() bool {
					got := d.get(id)
					if got.Attempt > 1 {
						t.Fatalf("attempt %d: a lease was lost", got.Attempt)
					}
					return got.Status == "completed" || got.Status == "canceled"
				})
			}
			d.becomes(d.submit("after").ID, "completed")
		})
	}
}
