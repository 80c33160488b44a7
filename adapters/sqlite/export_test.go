package sqlite

import (
	"os"

	"github.com/jmoiron/sqlx"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// Pools returns the connections that write and those that read.
func Pools(db *DB) (writer, reader *sqlx.DB) { return db.writer, db.reader }

// TryRoomWith has probes write to what open opens, instead of a file beside the database.
func TryRoomWith(db *DB, open func() (*os.File, error)) {
	db.file.trial = func(string) (*os.File, error) { return open() }
}

// IndexedQueries are the queries that must not read all tasks, with the index of each.
var IndexedQueries = map[string]string{
	selectDue:          "INDEX tasks_due",
	selectNextDue:      "COVERING INDEX tasks_due",
	selectStranded:     "INDEX tasks_queued (queue=? AND priority=? AND queued_at>? AND queued_at<?)",
	selectLanes:        "COVERING INDEX tasks_queued ((queue,priority)>(?,?))",
	selectOrphaned:     "INDEX tasks_claimed",
	selectOwned:        "INDEX tasks_claimed (worker=? AND id>?)",
	deleteWorker:       "INDEX tasks_claimed",
	countRunning:       "COVERING INDEX tasks_claimed",
	countAhead:         "COVERING INDEX tasks_queued (queue=? AND priority=? AND queued_at>? AND queued_at<?)",
	selectQueued:       "INDEX sqlite_autoindex_tasks_1",
	selectKnown:        "INDEX sqlite_autoindex_tasks_1",
	selectMany:         "INDEX sqlite_autoindex_tasks_1",
	selectWithoutTexts: "INDEX sqlite_autoindex_tasks_1",
	selectAttempts:     "PRIMARY KEY (task_id=?)",
	selectKey:          "INDEX sqlite_autoindex_idempotency_keys_1 (owner=? AND key=?)",
	deleteKeys:         "INDEX idempotency_keys_expired (expires_at<?)",
	selectNextBulk:     "INDEX bulks_to_do",
}

// CountingQueries count tasks by queue: they sort what they have counted, and read
// no more than the indexes of what waits and what runs.
var CountingQueries = []string{selectQueueInfos, selectQueueInfo}

// Query is a statement with its arguments.
type Query struct {
	SQL  string
	Args []any
}

// SearchQueries are all statements that a search may run, plan by plan.
func SearchQueries(q application.TaskQuery) (plans [][]Query) {
	s, ok := searchOf(q)
	if !ok {
		return nil
	}
	for _, plan := range s.plans() {
		candidates, which := plan.candidates()
		matches, match := plan.matches(taskColumns, domain.TaskID{15: 1})
		counted, count := plan.matches("1", domain.TaskID{15: 1})
		plans = append(plans, []Query{
			{"SELECT count(*) FROM (" + candidates + " LIMIT 10)", which},
			{candidates + plan.newestFirst() + " LIMIT 2 OFFSET 10", which},
			{matches + plan.newestFirst() + " LIMIT 10", match},
			{"SELECT count(*) FROM (" + counted + ")", count},
		})
	}
	return plans
}

// Constraints are the rules that only a defect breaks.
var Constraints = constraints

// Translate turns an error of the driver into one that a port names.
func Translate(db *DB, err error) error { return db.translate(err) }
