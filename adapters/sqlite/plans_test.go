package sqlite_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/millrace/millrace/adapters/sqlite"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// planOf is how SQLite would run the query: a line for each step.
func planOf(t *testing.T, db *sqlx.DB, query string, args ...any) string {
	t.Helper()
	var plan []struct {
		ID, Parent, NotUsed int
		Detail              string
	}
	if err := db.Select(&plan, "EXPLAIN QUERY PLAN "+query, args...); err != nil {
		t.Fatalf("%s\n%v", query, err)
	}
	details := make([]string, len(plan))
	for i, step := range plan {
		details[i] = step.Detail
	}
	return strings.Join(details, "\n")
}

// ones are arguments for the query, of whatever kind.
func ones(query string) []any {
	n := strings.Count(query, "?")
	for _, numbered := range []string{"?1", "?2", "?3", "?4"} {
		if used := strings.Count(query, numbered); used > 0 {
			n -= used - 1
		}
	}
	args := make([]any, n)
	for i := range args {
		args[i] = 1
	}
	return args
}

// whole is a step that reads a whole table of tasks or metadata.
var whole = regexp.MustCompile(`(?m)^(SCAN (tasks|t|m|o|task_metadata)|.* AUTOMATIC .*)$`)

func TestQueries_UseTheirIndexes(t *testing.T) {
	db, _ := open(t, fresh(t))
	writer, _ := sqlite.Pools(db)
	for query, want := range sqlite.IndexedQueries {
		got := planOf(t, writer, query, ones(query)...)
		if !strings.Contains(got, want) || strings.Contains(got, "TEMP B-TREE") || whole.MatchString(got) {
			t.Errorf("%s\nplan:\n%s\nwant %s, and no sorting", query, got, want)
		}
	}
	for _, query := range sqlite.CountingQueries {
		got := planOf(t, writer, query, ones(query)...)
		for _, index := range []string{"tasks_due", "tasks_queued", "tasks_claimed"} {
			if !strings.Contains(got, "tasks USING COVERING INDEX "+index) {
				t.Errorf("%s\nplan:\n%s\nwant the index %s alone", query, got, index)
			}
		}
		if whole.MatchString(got) || strings.Contains(got, "tasks USING INDEX") {
			t.Errorf("%s\nplan:\n%s\nwant no tasks read but along their indexes", query, got)
		}
	}
}

// A search goes down an index in the order of ids, one entry at a time: what it
// costs is bounded by its window, whatever it looks for.
func TestSearch_GoesAlongIndexes(t *testing.T) {
	db, _ := open(t, fresh(t))
	_, reader := sqlite.Pools(db)
	const (
		all      = "t USING INDEX sqlite_autoindex_tasks_1"
		open     = "t USING INDEX tasks_open"
		failed   = "t USING INDEX tasks_failed"
		canceled = "t USING INDEX tasks_canceled"
		metadata = "m USING PRIMARY KEY (key=? AND value=?"
	)
	for name, x := range map[string]struct {
		statuses []domain.Status
		metadata map[string]string
		want     [][]string // for each way the indexes
	}{
		"all":       {want: [][]string{{all}}},
		"completed": {statuses: []domain.Status{domain.StatusCompleted}, want: [][]string{{all}}},
		"most":      {statuses: []domain.Status{domain.StatusFailed, domain.StatusCompleted}, want: [][]string{{all}}},
		"pending":   {statuses: []domain.Status{domain.StatusPending}, want: [][]string{{open}}},
		"live":      {statuses: []domain.Status{domain.StatusProcessing, domain.StatusPending}, want: [][]string{{open}}},
		"failed":    {statuses: []domain.Status{domain.StatusFailed}, want: [][]string{{failed}}},
		"rare": {
			statuses: []domain.Status{domain.StatusCanceled, domain.StatusFailed, domain.StatusPending},
			want:     [][]string{{open, failed, canceled}},
		},
		"pair":  {metadata: map[string]string{"a": "b"}, want: [][]string{{metadata}}},
		"pairs": {metadata: map[string]string{"a": "b", "c": "d"}, want: [][]string{{metadata}, {metadata}}},
		"pair of failed": {
			metadata: map[string]string{"a": "b"}, statuses: []domain.Status{domain.StatusFailed},
			want: [][]string{{metadata}, {failed}},
		},
	} {
		for _, q := range []application.TaskQuery{
			{},
			{Before: domain.NewTaskID(time.Now())},
			{TaskFilter: domain.TaskFilter{Text: "x", Queues: []domain.QueueName{"a", "b"}}},
			{TaskFilter: domain.TaskFilter{CreatedFrom: time.Now(), CreatedBefore: time.Now().Add(time.Hour)}, Before: domain.NewTaskID(time.Now())},
		} {
			q.Statuses, q.Metadata = x.statuses, x.metadata
			ways := sqlite.SearchQueries(q)
			if len(ways) != len(x.want) {
				t.Errorf("%s: %d ways, want %d", name, len(ways), len(x.want))
				continue
			}
			for i, queries := range ways {
				for _, query := range queries {
					got := planOf(t, reader, query.SQL, query.Args...)
					for _, index := range x.want[i] {
						if !strings.Contains(strings.ReplaceAll(got, "COVERING ", ""), index) {
							t.Errorf("%s: %s\nplan:\n%s\nwant %s", name, query.SQL, got, index)
						}
					}
					if strings.Contains(got, "TEMP B-TREE") || whole.MatchString(got) {
						t.Errorf("%s: %s\nplan:\n%s\nwant no sorting, and no table read as a whole", name, query.SQL, got)
					}
				}
			}
		}
	}
}
