package e2e

import (
	"database/sql"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/test/programs"
	"github.com/millrace/millrace/test/services"
)

// shortRetention lets everything expire but what has failed.
const shortRetention = "RETENTION=completed=1s,canceled=1s,failed=never"

// purgePatience: the purge rests 19 times as long as it works, and works slowly on a busy
// machine.
const purgePatience = 3 * programs.Patience

// oldTask is the id of the nth of old tasks; they are below all that are made now.
func oldTask(n int) string { return fmt.Sprintf("01900000-0000-7000-8000-%012x", n) }

// makeOld stores n completed tasks that ended yesterday, with an attempt and two pairs of
// metadata each.
func makeOld(t *testing.T, db *sql.DB, n int) {
	t.Helper()
	for _, statement := range []string{
		`INSERT INTO tasks (id, message, queue, priority, metadata, status, created_at, updated_at, version, run_at, max_attempts,
			attempt, failures, rescues, worker, claim_beat, started_at, last_error, result, result_truncated)
		SELECT ('01900000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'old', 'default', 0, '{"customer": "c", "region": "eu"}',
			'completed', at, at, 4, at, 3, 2, 1, 0, 'w', 1, at, 'no', 'done', false
		FROM generate_series(1, $1::bigint) AS n, (SELECT now() - interval '1 day' AS at) AS yesterday`,
		`INSERT INTO attempts SELECT id, 1, 'w', created_at, created_at, 'failed', 'no' FROM tasks WHERE message = 'old' LIMIT $1`,
		`INSERT INTO task_metadata SELECT pair.key, pair.value, id FROM tasks, jsonb_each_text(metadata) AS pair WHERE message = 'old' LIMIT 2 * $1`,
	} {
		if _, err := db.ExecContext(t.Context(), statement, n); err != nil {
			t.Fatal(err)
		}
	}
}

// rows counts the rows that a part of a statement names.
func rows(t *testing.T, db *sql.DB, from string) (n int) {
	t.Helper()
	if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM "+from).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

const oldTasks = "tasks WHERE message = 'old'"

func TestPurge_UnderLoadPassesOverLocksAndKeepsWhatHasAKey(t *testing.T) {
	t.Parallel()
	database := services.PostgreSQL(t)
	d := deploy(t, database, services.Redis(t), shortRetention)
	d.worker("HANDLER=noop:")
	db := open(t, database)
	makeOld(t, db, 300)
	lock, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lock.ExecContext(t.Context(), "SELECT FROM tasks WHERE id IN ($1, $2, $3) FOR UPDATE", oldTask(1), oldTask(150), oldTask(300)); err != nil {
		t.Fatal(err)
	}
	const body = `{"message":"keyed","retention":1}`
	keyed, _ := repeat(t, []string{d.addr}, 0, "k", body)

	var load sync.WaitGroup
	var stop atomic.Bool
	var accepted atomic.Int64
	t.Cleanup(func() { stop.Store(true); load.Wait() })
	for n := range 4 {
		load.Go(func() {
			for !stop.Load() {
				if status, text := call(t, "http://"+d.addr, http.MethodPost, "/tasks", fmt.Sprintf(`{"message":"load %d"}`, n)); status != http.StatusCreated {
					t.Errorf("during the purge: %d %s", status, text)
				}
				accepted.Add(1)
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
	programs.Eventually(t, purgePatience, "all but the locked are purged", func() bool { return rows(t, db, oldTasks) == 3 })
	if err := lock.Rollback(); err != nil {
		t.Fatal(err)
	}
	programs.Eventually(t, purgePatience, "the locked are purged", func() bool { return rows(t, db, oldTasks) == 0 })
	stop.Store(true)
	load.Wait()
	// What was accepted during it is processed, and purged in its turn; what has a key stays.
	programs.Eventually(t, purgePatience, "the load is purged", func() bool { return rows(t, db, "tasks") == 1 })
	t.Logf("%d tasks were accepted during it", accepted.Load())
	again, replayed := repeat(t, []string{d.addr}, 0, "k", body)
	if !replayed || again.ID != keyed.ID || again.Status != "completed" {
		t.Errorf("the repeat of a key is answered with %+v, replayed: %v; want task %s, completed", again, replayed, keyed.ID)
	}
	for _, table := range []string{"attempts", "task_metadata"} {
		if n := rows(t, db, table); n != 0 {
			t.Errorf("%d rows of %s are left", n, table)
		}
	}
}

// Each step is a transaction, and the cursor is part of it.
func TestPurge_GoesOnWhenItsWorkerIsKilledInTheMiddle(t *testing.T) {
	t.Parallel()
	database := services.PostgreSQL(t)
	d := deploy(t, database, services.Redis(t), shortRetention)
	db := open(t, database)
	const n = 2500 // the second step has the last 500
	makeOld(t, db, n)
	first := d.worker("HANDLER=noop:")
	programs.Eventually(t, purgePatience, "the purge has begun", func() bool { return rows(t, db, oldTasks) < n })
	first.Kill()
	left := rows(t, db, oldTasks)
	if left == 0 || left == n {
		t.Fatalf("%d of %d tasks were left when the worker was killed: that was not in the middle", left, n)
	}
	for table, each := range map[string]int{"attempts": 1, "task_metadata": 2} {
		if got := rows(t, db, table); got != left*each {
			t.Errorf("%d rows of %s of %d tasks", got, table, left)
		}
	}
	d.worker("HANDLER=noop:")
	programs.Eventually(t, purgePatience, "another worker purges the rest", func() bool { return rows(t, db, oldTasks) == 0 })
	for _, table := range []string{"attempts", "task_metadata"} {
		if got := rows(t, db, table); got != 0 {
			t.Errorf("%d rows of %s are left", got, table)
		}
	}
}
