package postgres

import (
	"strings"
	"testing"
	"time"

	"github.com/lib/pq"

	"github.com/millrace/millrace/adapters/postgres/internal/pgconn"
	"github.com/millrace/millrace/adapters/postgres/internal/pgenc"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// lastID is above all ids.
const lastID = "ffffffff-ffff-ffff-ffff-ffffffffffff"

// TestSweeps_UseTheirIndexes looks at the plans over a table in which, as in
// life, nearly all tasks have ended.
func TestSweeps_UseTheirIndexes(t *testing.T) {
	db := migrated(t, Config{CallTimeout: time.Minute})
	fill(t, db, 20_000)

	now, none := time.Now(), pq.Array([]string{})
	_, ids := newTasks(t, 100)
	walk := []any{domain.TaskID{}.String(), lastID, 100}
	stranded := []any{100, none, pq.Array([]string{"q1", "q2"}), pq.Array([]int64{0, 1}), pq.Array([]string{"2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"})}
	pending := pq.Array([]string{"pending"})
	for _, check := range []struct {
		name, query string
		whole       bool // asks of all that the index holds
		indexes     string
		args        []any
	}{
		{"due", lockOf(dueSQL), false, "tasks_due", []any{100, none, now}},
		{"next due", nextDueSQL, true, "tasks_due", nil},
		{"stranded", strandedSQL, false, "tasks_queued", stranded},
		{"queued before", queuedBeforeSQL, false, "tasks_queued", []any{now}},
		{"orphaned", lockOrphanedSQL, true, "tasks_claimed", []any{100, none, "w1", 1, 1}},
		{"owned", ownedSQL, false, "tasks_claimed", []any{"w1", ids[0].String(), 500}},
		{"give back", lockOf(giveBackSQL), false, "tasks_claimed", []any{"w1", pgenc.UUIDs(ids)}},
		{"any orphaned", anyOf(anyOrphanedSQL), true, "tasks_claimed", []any{100, none, "w1", 1, 1}},
		{"forget", forgetSQL, true, "tasks_claimed", []any{1}},
		{"leave", leaveSQL, false, "tasks_claimed", []any{"w1"}},
		{"forget keys", forgetKeysSQL, false, "idempotency_keys_expired", []any{now, 10}},
		{"purge", candidatesSQL(application.PurgeAll), false, "tasks_pkey", walk},
		{"purge of the own", candidatesSQL(application.PurgeOwn), false, "tasks_retained", walk},
		{"delete what has expired", purgeSQL.String(), false, "tasks_pkey task_metadata_pkey", []any{pgenc.UUIDs(ids), pgenc.Int.Array(make([]int64, len(ids))), pq.Array(make([]string, len(ids))), pq.Array([]string{"failed"})}},
		{"get many", getPortionSQL, false, "tasks_pkey", []any{pgenc.UUIDs(ids)}},
		{"tasks of a key", storedWithSQL, false, "tasks_pkey", []any{pgenc.UUIDs(ids)}},
		{"others of a key", checkStoredSQL, false, "tasks_pkey", []any{pgenc.UUIDs(ids)}},
		{"attempts", attemptsSQL, false, "attempts_pkey", []any{ids[0].String(), 1000}},
		{"delete", deleteSQL, false, "tasks_pkey task_metadata_pkey", []any{ids[0].String(), 1, 1, "w1", "completed"}},
		{"delete many", deleteOursSQL, false, "tasks_pkey task_metadata_pkey", []any{pgenc.UUIDs(ids)}},
		{"claim", claimSQL.String(), false, "tasks_pkey queues_limited", []any{pgenc.UUIDs(ids), pending, "processing", now, "w1", 1, 1, 1}},
		{"claim what is free", claimFreeSQL.String(), false, "tasks_pkey queues_limited", []any{pgenc.UUIDs(ids), pending, "processing", now, "w1", 1, 1, 1}},
		{"left of a claim", leftSQL.String(), false, "tasks_pkey", []any{pgenc.UUIDs(ids), pending, "w1"}},
		{"limited claim", lockClaimableSQL.String(), false, "tasks_claimed tasks_pkey", []any{pgenc.UUIDs(ids), pending, pq.Array([]string{"q1", "q2"})}},
		{"queues", infosSQL, true, "tasks_queued tasks_due tasks_claimed", []any{"", 10}},
		{"queue", infoSQL, false, "tasks_queued tasks_due tasks_claimed queues_pkey", []any{"q1"}},
		{"ahead", aheadSQL, false, "tasks_queued", []any{"q1", 0, now, 10}},
	} {
		var lines []string
		if err := db.calls.SQL.Select(&lines, "EXPLAIN "+check.query, check.args...); err != nil {
			t.Errorf("%s: %v", check.name, err)
			continue
		}
		plan := strings.Join(lines, "\n")
		for index := range strings.FieldsSeq(check.indexes) {
			if !strings.Contains(plan, index+" ") && !strings.HasSuffix(plan, index) {
				t.Errorf("%s does not use %s:\n%s", check.name, index, plan)
			}
		}
		if !check.whole && !strings.Contains(plan, "Index Cond") || strings.Contains(plan, "Seq Scan on tasks") {
			t.Errorf("%s looks at more than it asks for:\n%s", check.name, plan)
		}
	}
}

// fill makes n tasks of five queues, a few of which wait, are due or run, and
// what goes with them.
func fill(t *testing.T, db *DB, n int) {
	t.Helper()
	db.calls.SQL.MustExec(`INSERT INTO tasks (id, message, queue, priority, status, created_at, updated_at, version, run_at, queued_at,
			max_attempts, attempt, failures, rescues, worker, claim_beat, deadline, started_at, last_error, result, result_truncated)
		SELECT gen_random_uuid(), 'm', 'q' || n % 5, n % 3, s, now(), now(), 1, now(), CASE WHEN s = 'pending' AND n % 2 = 0 THEN now() END,
			3, 1, 0, 0, CASE WHEN s <> 'pending' THEN 'w' || n % 5 END, 0, CASE WHEN s = 'processing' THEN now() END, now(), '', '', false
		FROM (SELECT n, CASE WHEN n % 100 < 4 THEN 'pending' WHEN n % 100 < 6 THEN 'processing' ELSE 'completed' END AS s
			FROM generate_series(1, $1::bigint) AS n) AS made`, n)
	db.calls.SQL.MustExec("INSERT INTO attempts SELECT id, 1, 'w', now(), now(), 'released', '' FROM tasks LIMIT 2000")
	db.calls.SQL.MustExec("INSERT INTO task_metadata SELECT 'customer', 'c' || (random() * 10)::int, id FROM tasks") // each pair of many tasks
	db.calls.SQL.MustExec("INSERT INTO queues (name, paused, max_running) SELECT 'q' || n, false, 1 FROM generate_series(1, 1000) AS n")
	db.calls.SQL.MustExec(`INSERT INTO idempotency_keys SELECT 'o', n::text, '', '{}', now() + n * interval '1 second' FROM generate_series(1, 2000) AS n`)
	db.calls.SQL.MustExec("ANALYZE tasks, attempts, task_metadata, queues, idempotency_keys")
}

// A statement that is prepared keeps its plan while the table grows, so the plan must
// not depend on the size that the table had. EXPLAIN EXECUTE shows it without the
// arguments.
func TestPrepared_PlansDoNotDependOnTheSizeOfTheTable(t *testing.T) {
	tasks, _ := newTasks(t, 3)
	for _, task := range tasks {
		task.MarkStored()
		if err := task.Cancel(time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	update, _ := updateOf(tasks, waitBriefly)
	updateFree, _ := updateOf(tasks, skipLocked)
	for size, prepare := range map[string]func(db *DB){
		"empty":             func(*DB) {},
		"empty and known":   func(db *DB) { db.calls.SQL.MustExec("VACUUM ANALYZE tasks") },
		"a row":             func(db *DB) { fill(t, db, 1) },
		"fifty rows":        func(db *DB) { fill(t, db, 50) },
		"a thousand rows":   func(db *DB) { fill(t, db, 1000) },
		"thousands of rows": func(db *DB) { fill(t, db, 20_000) },
	} {
		db := migrated(t, Config{CallTimeout: time.Minute})
		prepare(db)
		c, err := db.calls.SQL.Connx(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for name, query := range map[string]pgconn.Stmt{
			"claim": claimSQL, "claim what is free": claimFreeSQL, "claim limited": claimOursSQL, "left": leftSQL,
			"lock for a limited claim": lockClaimableSQL,
			"save":                     update, "save what is free": updateFree,
		} {
			var lines []string
			if _, err := c.ExecContext(t.Context(), "SET plan_cache_mode = force_generic_plan; PREPARE p AS "+query.String()); err != nil {
				t.Fatal(err)
			}
			var n int
			if err := c.GetContext(t.Context(), &n, "SELECT cardinality(parameter_types) FROM pg_prepared_statements WHERE name = 'p'"); err != nil {
				t.Fatal(err)
			}
			if err := c.SelectContext(t.Context(), &lines, "EXPLAIN EXECUTE p("+strings.TrimSuffix(strings.Repeat("NULL, ", n), ", ")+")"); err != nil {
				t.Fatal(err)
			}
			plan := strings.Join(lines, "\n")
			found := strings.Contains(plan, "tasks_pkey") && !strings.Contains(plan, "Seq Scan")
			for i, line := range lines {
				if strings.Contains(line, "tasks_pkey") && !strings.Contains(lines[i+1], "Index Cond: (id = ") {
					found = false // it walks along the whole index
				}
			}
			if !found {
				t.Errorf("%s, the table has %s:\n%s", name, size, plan)
			}
			if _, err := c.ExecContext(t.Context(), "DEALLOCATE p"); err != nil {
				t.Fatal(err)
			}
		}
		_ = c.Close()
	}
}
