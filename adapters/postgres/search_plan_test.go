package postgres

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/jmoiron/sqlx"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/usecase"
	"github.com/millrace/millrace/domain"
)

// manyTasks is how many fillMany stores: one every 10 ms from firstOfMany on.
const manyTasks = 1_000_000

var firstOfMany = time.UnixMilli(1_700_000_000_000)

// fillMany stores a million tasks, of which a thousand have failed, a thousand run,
// a thousand wait, none was canceled and the rest has completed. Half have the same
// pair of metadata, ten have a rare one. They have no statistics.
func fillMany(t *testing.T, db *DB) {
	t.Helper()
	for _, table := range []string{"attempts", "tasks", "task_metadata"} { // attempts refer to tasks
		db.calls.SQL.MustExec("ALTER TABLE " + table + " SET (autovacuum_enabled = off)")
		db.calls.SQL.MustExec("ALTER TABLE " + table + " SET UNLOGGED") // half the time
	}
	db.calls.SQL.MustExec(`WITH made AS (
			SELECT n, 1700000000000 + n * 10 AS ms, to_timestamp((1700000000000 + n * 10) / 1000.0) AS at,
				CASE n % 1000 WHEN 0 THEN 'pending' WHEN 1 THEN 'processing' WHEN 2 THEN 'failed' ELSE 'completed' END AS status,
				CASE WHEN n % 2 = 0 THEN '{"half": "of all"}'::jsonb WHEN n % 100000 = 1 THEN '{"rare": "pair"}' END AS metadata
			FROM generate_series(0, $1 - 1) AS n
		), added AS (
			INSERT INTO tasks (id, message, queue, priority, metadata, status, created_at, updated_at, version, run_at, queued_at,
				max_attempts, attempt, failures, rescues, worker, claim_beat, deadline, started_at, last_error, result, result_truncated)
			SELECT (lpad(to_hex(ms), 12, '0') || '70008' || lpad(to_hex(n), 15, '0'))::uuid, 'message ' || n, 'q' || n % 3, 0, metadata, status,
				at, at, 1, at, CASE WHEN n % 2000 = 0 THEN at END, 3, 1, 0, 0,
				CASE WHEN status IN ('processing', 'completed') THEN 'w' END, 0, CASE WHEN status = 'processing' THEN at END, at, '', '', false
			FROM made
			RETURNING id, metadata
		)
		INSERT INTO task_metadata SELECT pair.key, pair.value, id FROM added, jsonb_each_text(metadata) AS pair`, manyTasks)
}

// node is a part of a plan that was carried out.
type node struct {
	Type    string  `json:"Node Type"`
	Index   string  `json:"Index Name"`
	Rows    float64 `json:"Actual Rows"`
	Removed float64 `json:"Rows Removed by Filter"`
	Loops   float64 `json:"Actual Loops"`
	Hit     int     `json:"Shared Hit Blocks"`
	Read    int     `json:"Shared Read Blocks"`
	Plans   []node  `json:"Plans"`
}

// cost is what a statement has cost: the rows that it looked at, by index, and
// the blocks of shared buffers.
type cost struct {
	rows   map[string]int
	blocks int
	other  []string // ways to read or order that no window bounds
}

func (c *cost) add(n node) {
	if n.Loops == 0 {
		return
	}
	switch n.Type {
	case "Index Scan", "Index Only Scan":
		c.rows[n.Index] += int((n.Rows + n.Removed) * n.Loops)
	case "Seq Scan", "Bitmap Heap Scan", "Sort", "Incremental Sort":
		c.other = append(c.other, n.Type)
	}
	for _, p := range n.Plans {
		c.add(p)
	}
}

func costOf(t *testing.T, tx *sqlx.Tx, query string, args []any) cost {
	t.Helper()
	var text string
	if err := tx.Get(&text, "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) "+query, args...); err != nil {
		t.Fatalf("%v\n%s", err, query)
	}
	var plans []struct{ Plan node }
	if err := json.Unmarshal([]byte(text), &plans); err != nil || len(plans) != 1 {
		t.Fatalf("%v\n%s", err, text)
	}
	c := cost{rows: map[string]int{}, blocks: plans[0].Plan.Hit + plans[0].Plan.Read}
	c.add(plans[0].Plan)
	return c
}

// searchCase is a search of the million, and what it may cost.
type searchCase struct {
	name    string
	filter  domain.TaskFilter
	window  int // 0: application.SearchWindow
	indexes []string
	rows    int // that are looked at in each index, at most
	blocks  int
}

const (
	pkey   = "tasks_pkey"
	byPair = "task_metadata_pkey"

	window = application.SearchWindow
	few    = 200 // rows until a page of 51 is full, if every third fits
	// A row on its way through an index in the order of the table costs less than a
	// block, one that is looked up four.
	perLookUp = 5
)

var wholeLive = []string{"tasks_claimed", "tasks_due", "tasks_queued"}

var searchCases = func() []searchCase {
	at := func(n int) time.Time { return firstOfMany.Add(time.Duration(n) * 10 * time.Millisecond) }
	half, rare := map[string]string{"half": "of all"}, map[string]string{"rare": "pair"}
	only := func(statuses ...domain.Status) domain.TaskFilter {
		return domain.TaskFilter{Statuses: statuses}
	}
	with := func(f domain.TaskFilter, edit func(f *domain.TaskFilter)) domain.TaskFilter {
		edit(&f)
		return f
	}
	toNone := func(f *domain.TaskFilter) { f.Queues = []domain.QueueName{"none"} }
	all := domain.TaskFilter{}
	return []searchCase{
		{"all", all, 0, []string{pkey}, 60, 60},
		{"text that nothing has", domain.TaskFilter{Text: "none"}, 0, []string{pkey}, window + 1, window},
		{"text that every tenth has", domain.TaskFilter{Text: "7"}, 0, []string{pkey}, 1000, 1000},
		{"a queue", domain.TaskFilter{Queues: []domain.QueueName{"q1"}}, 0, []string{pkey}, few, few},
		{"a queue that none has", with(all, toNone), 0, []string{pkey}, window + 1, window},
		{"completed", only(domain.StatusCompleted), 0, []string{pkey}, few, few},
		{"failed", only(domain.StatusFailed), 0, []string{"tasks_failed"}, 60, few},
		{"failed, of a queue that none has", with(only(domain.StatusFailed), toNone), 0, []string{"tasks_failed"}, 1000, 1100},
		{"canceled, which nobody is", only(domain.StatusCanceled), 0, []string{"tasks_canceled"}, 0, 10},
		{"failed or canceled", only(domain.StatusCanceled, domain.StatusFailed), 0, []string{"tasks_canceled", "tasks_failed"}, 60, few},
		{"pending", only(domain.StatusPending), 0, wholeLive, 1000, 2100},
		{"processing, of a queue that none has", with(only(domain.StatusProcessing), toNone), 0, wholeLive, 1000, 2100},
		{"pending or processing, more than the window", only(domain.StatusPending, domain.StatusProcessing), 1000, []string{pkey}, 1001, 1000},
		{"a pair that half have", domain.TaskFilter{Metadata: half}, 0, []string{pkey, byPair}, 60, 60 * perLookUp},
		{"a pair that half have, and a queue that none has", with(domain.TaskFilter{Metadata: half}, toNone), 0, []string{pkey, byPair}, window + 1, window * perLookUp},
		{"a rare pair", domain.TaskFilter{Metadata: rare}, 0, []string{pkey, byPair}, 10, 60},
		{"a pair that none has", domain.TaskFilter{Metadata: map[string]string{"rare": "none"}}, 0, []string{byPair}, 0, 10},
		{"two pairs that none has both of", domain.TaskFilter{Metadata: map[string]string{"rare": "pair", "half": "of all"}}, 0, []string{pkey, byPair}, window + 1, window * perLookUp},
		{"a pair, failed", with(only(domain.StatusFailed), func(f *domain.TaskFilter) { f.Metadata = rare }), 0, []string{pkey, byPair}, 10, 60},
		{"created long ago", domain.TaskFilter{CreatedBefore: at(5000)}, 0, []string{pkey}, 60, 60},
		{"created in one second, in a queue that none has", with(domain.TaskFilter{CreatedFrom: at(5000), CreatedBefore: at(5100)}, toNone), 0, []string{pkey}, 102, few},
		{"created before all", domain.TaskFilter{CreatedBefore: at(0)}, 0, []string{pkey}, 0, 10},
		{"created after all", domain.TaskFilter{CreatedFrom: at(manyTasks)}, 0, []string{pkey}, 0, 10},
		{"created between two", domain.TaskFilter{CreatedFrom: at(1).Add(time.Millisecond), CreatedBefore: at(2)}, 0, []string{pkey}, 0, 10},
		{"failed long ago", with(only(domain.StatusFailed), func(f *domain.TaskFilter) { f.CreatedBefore = at(5000) }), 0, []string{"tasks_failed"}, 5, 20},
		{"finished long ago", domain.TaskFilter{FinishedBefore: at(5000)}, 0, []string{pkey}, 60, 60},
		{"finished since, which nobody has", domain.TaskFilter{FinishedFrom: at(manyTasks)}, 0, []string{pkey}, window + 1, window},
		{"finished before all", domain.TaskFilter{FinishedBefore: at(0)}, 0, []string{pkey}, 0, 10},
		{"failed since, which nobody has", with(only(domain.StatusFailed, domain.StatusPending), func(f *domain.TaskFilter) { f.FinishedFrom = at(manyTasks) }), 0, []string{"tasks_failed"}, 1000, 1100},
	}
}()

// TestSearch_IsBoundedOnAMillionTasks looks at what searches have read, when the
// planner knows nothing of the tables and when it knows all.
func TestSearch_IsBoundedOnAMillionTasks(t *testing.T) {
	db := migrated(t, Config{CallTimeout: 2 * time.Minute})
	fillMany(t, db)
	t.Run("without statistics", func(t *testing.T) { wantBounded(t, db) })
	db.calls.SQL.MustExec("VACUUM ANALYZE tasks")
	db.calls.SQL.MustExec("VACUUM ANALYZE task_metadata")
	t.Run("with statistics", func(t *testing.T) { wantBounded(t, db) })
}

func wantBounded(t *testing.T, db *DB) {
	for _, c := range searchCases {
		t.Run(c.name, func(t *testing.T) {
			q := application.TaskQuery{TaskFilter: c.filter, Limit: usecase.DefaultPageSize + 1, Window: cmp.Or(c.window, window)}
			inSearch(t, db, q, func(tx *sqlx.Tx, s *search) {
				for _, columns := range []string{selectColumns + ", ", ""} { // of a page, of a bulk action
					if s.Bytes = 0; columns != "" {
						s.Bytes = application.PageBytes
					}
					query, args := s.listSQL(columns)
					c.want(t, costOf(t, tx, query, args), s.fewLive)
				}
			})
		})
	}
	half := domain.TaskFilter{Metadata: map[string]string{"half": "of all"}, Text: "none"}
	const most = application.CountWindow
	for _, c := range []searchCase{
		{"count of a text that nothing has", domain.TaskFilter{Text: "none"}, most, []string{pkey}, most + 1, most},
		{"count of a pair that half have", half, most, []string{pkey, byPair}, most + 1, most * perLookUp},
		{"count of what waits", domain.TaskFilter{Statuses: []domain.Status{domain.StatusPending}}, most, wholeLive, 1000, 2100},
	} {
		t.Run(c.name, func(t *testing.T) {
			inSearch(t, db, application.TaskQuery{TaskFilter: c.filter, Limit: 1, Window: c.window}, func(tx *sqlx.Tx, s *search) {
				query, args := s.countSQL()
				c.want(t, costOf(t, tx, query, args), false)
			})
		})
	}
	t.Run("a step of a bulk action", func(t *testing.T) { wantStepBounded(t, db) })
}

// inSearch readies a transaction for a search, and checks what that costs.
func inSearch(t *testing.T, db *DB, q application.TaskQuery, look func(tx *sqlx.Tx, s *search)) {
	t.Helper()
	s, ok := searchOf(q)
	if !ok {
		t.Fatalf("no task can match %+v", q)
	}
	tx := db.calls.SQL.MustBegin()
	defer tx.Rollback()
	if err := s.prepare(t.Context(), tx); err != nil {
		t.Fatal(err)
	}
	if s.onlyLive() {
		probe := searchCase{indexes: wholeLive, rows: 1000, blocks: 2100}
		probe.want(t, costOf(t, tx, fewLiveSQL, []any{q.Window}), false)
	}
	look(tx, s)
}

// wantStepBounded looks at the statements of a step that come after the search.
func wantStepBounded(t *testing.T, db *DB) {
	q := application.TaskQuery{TaskFilter: domain.TaskFilter{Statuses: []domain.Status{domain.StatusFailed}}, Limit: few, Window: window}
	inSearch(t, db, q, func(tx *sqlx.Tx, _ *search) {
		found, err := list(t.Context(), tx, q, "")
		if err != nil || len(found.ids()) != few {
			t.Fatalf("found %d, %v", len(found.ids()), err)
		}
		query, args := lockMatchesSQL(q, found.ids())
		searchCase{indexes: []string{"tasks_failed"}, rows: few, blocks: 20 * few}.want(t, costOf(t, tx, query, args), false)

		var rows []row
		if err := tx.Select(&rows, query, args...); err != nil {
			t.Fatal(err)
		}
		swept := decideAll(rows, func(t *domain.Task) error { return t.Reopen(time.Now()) })
		update, args := updateOf(swept.Changed, locksAreOurs)
		searchCase{indexes: []string{pkey}, rows: few, blocks: 20 * few}.want(t, costOf(t, tx, update.String(), args), false)
	})
}

// want checks a cost. Few tasks that wait or run have to be sorted, nothing else.
func (c searchCase) want(t *testing.T, got cost, sorted bool) {
	t.Helper()
	if diff := gocmp.Diff(slices.Sorted(slices.Values(c.indexes)), slices.Sorted(maps.Keys(got.rows))); diff != "" {
		t.Errorf("indexes (-want +got):\n%s", diff)
	}
	for index, rows := range got.rows {
		if rows > c.rows {
			t.Errorf("looked at %d rows of %s, more than %d", rows, index, c.rows)
		}
	}
	if got.blocks > c.blocks {
		t.Errorf("read %d blocks, more than %d", got.blocks, c.blocks)
	}
	var other []string
	if sorted {
		other = []string{"Sort"}
	}
	if diff := gocmp.Diff(other, got.other); diff != "" {
		t.Errorf("what no window bounds (-want +got):\n%s", diff)
	}
}
