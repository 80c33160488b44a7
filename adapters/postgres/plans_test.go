package postgres

import (
	"strings"
	"testing"
	"time"

	"github.com/lib/pq"
)

// TestSweeps_UseTheirIndexes looks at the plans over a table in which, as in
// life, nearly all tasks have ended.
func TestSweeps_UseTheirIndexes(t *testing.T) {
	db := migrated(t, Config{CallTimeout: time.Minute})
	db.x.MustExec(`INSERT INTO tasks SELECT gen_random_uuid(), 'm', s, now(), now(), 1, now(),
			CASE WHEN s = 'pending' AND n % 2 = 0 THEN now() END, 3, 1, 0, 0,
			CASE WHEN s <> 'pending' THEN 'w' || n % 5 END, 0, CASE WHEN s = 'processing' THEN now() END, now(), '', NULL, '', false
		FROM (SELECT n, CASE WHEN n % 100 < 4 THEN 'pending' WHEN n % 100 < 6 THEN 'processing' ELSE 'completed' END AS s
			FROM generate_series(1, 20000) AS n) AS made`)
	db.x.MustExec("INSERT INTO attempts SELECT id, 1, 'w', now(), now(), 'released', '' FROM tasks LIMIT 2000")
	db.x.MustExec("ANALYZE tasks, attempts")

	now, none := time.Now(), pq.Array([]string{})
	_, ids := newTasks(t, 100)
	for _, check := range []struct {
		name, query, index string
		args               []any
	}{
		{"due", lockOf(dueSQL), "tasks_due", []any{100, none, now}},
		{"stranded", lockOf(strandedSQL), "tasks_queued", []any{100, none, now}},
		{"any queued", anyQueuedSQL, "tasks_queued", []any{now}},
		{"abandoned", lockOf(abandonedSQL), "tasks_claimed", []any{100, none, "w1", 1, 1}},
		{"give back", lockOf(giveBackSQL), "tasks_claimed", []any{"w1", none, none, pq.Array([]int64{}), pq.Array([]bool{}), 1}},
		{"any due", anyOf(dueSQL), "tasks_due", []any{100, none, now}},
		{"any stranded", anyOf(strandedSQL), "tasks_queued", []any{100, none, now}},
		{"any abandoned", anyOf(abandonedSQL), "tasks_claimed", []any{100, none, "w1", 1, 1}},
		{"any to give back", anyOf(giveBackSQL), "tasks_claimed", []any{"w1", none, none, pq.Array([]int64{}), pq.Array([]bool{}), 1}},
		{"forget", forgetSQL, "tasks_claimed", []any{1}},
		{"leave", leaveSQL, "tasks_claimed", []any{"w1"}},
		{"get many", getManySQL, "tasks_pkey", []any{uuidsOf(ids)}},
		{"attempts", attemptsSQL, "attempts_pkey", []any{ids[0].String(), 1000}},
	} {
		var lines []string
		if err := db.x.Select(&lines, "EXPLAIN "+check.query, check.args...); err != nil {
			t.Errorf("%s: %v", check.name, err)
			continue
		}
		plan := strings.Join(lines, "\n")
		narrowed := strings.HasSuffix(check.name, "abandoned") || check.name == "forget" || strings.Contains(plan, "Index Cond") // they ask of all workers
		if !narrowed || !strings.Contains(plan, check.index+" ") || strings.Contains(plan, "Seq Scan on tasks") {
			t.Errorf("%s does not use %s:\n%s", check.name, check.index, plan)
		}
	}
}
