package sqlite

import "github.com/jmoiron/sqlx"

// Pools returns the connections that write and those that read.
func Pools(db *DB) (writer, reader *sqlx.DB) { return db.writer, db.reader }

// IndexedQueries are the queries that must not read all tasks, with the index of each.
var IndexedQueries = map[string]string{
	selectDue:       "INDEX tasks_due",
	selectStranded:  "INDEX tasks_queued",
	anyStranded:     "INDEX tasks_queued",
	selectAbandoned: "INDEX tasks_claimed",
	selectHeld:      "INDEX tasks_claimed",
	deleteWorker:    "INDEX tasks_claimed",
	selectQueued:    "INDEX sqlite_autoindex_tasks_1",
	selectMany:      "INDEX sqlite_autoindex_tasks_1",
	selectAttempts:  "PRIMARY KEY (task_id=?)",
}
