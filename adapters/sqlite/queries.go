package sqlite

import (
	"strconv"

	"github.com/millrace/millrace/adapters/internal/sqlstatus"
	"github.com/millrace/millrace/domain"
)

// What the statements ask of a task's status, each the condition of a partial
// index: SQLite uses such an index only for a condition that repeats it.
var (
	unqueued = sqlstatus.Unqueued("")
	queued   = sqlstatus.Queued("")
	held     = sqlstatus.Held("")
)

// aliveSQL is domain.Heartbeat.Alive of a worker whose row is called name; before is the
// time that lies a lease back.
func aliveSQL(name, before string) string { return name + ".seen_at > " + before }

// What transactions run.
var (
	insertTask = `INSERT INTO tasks (` + taskColumns + `)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	insertMetadata = `INSERT INTO task_metadata (key, value, task_id) SELECT key, value, ?1 FROM json_each(?2)`
	// What never changes in a task's life is not written again.
	updateTask = `UPDATE tasks SET status = ?, updated_at = ?, version = ?, run_at = ?, queued_at = ?, attempt = ?, failures = ?,
			rescues = ?, worker = ?, claim_beat = ?, deadline = ?, started_at = ?, stop_requested_at = ?, result_truncated = ?,
			result_altered = ?, last_error = ?, result = ?
		WHERE id = ? AND version = ? AND attempt = ? AND worker IS ?`
	// A doubled record must not cost the task its change.
	insertRecord = `INSERT INTO attempts (` + recordColumns + `)
		VALUES (:task_id, :number, :worker, :started_at, :ended_at, :outcome, :error) ON CONFLICT DO NOTHING`
	deleteTask     = `DELETE FROM tasks WHERE id = ? AND version = ? AND attempt = ? AND worker IS ? AND status = ?`
	deleteMetadata = `DELETE FROM task_metadata WHERE (key, value, task_id) IN (SELECT key, value, ?1 FROM json_each(?2))`

	savepoint     = `SAVEPOINT change`
	rollbackTo    = `ROLLBACK TO change`
	release       = `RELEASE change`
	selectTask    = `SELECT ` + taskColumns + ` FROM tasks WHERE id = ?`
	selectVersion = `SELECT version FROM tasks WHERE id = ?`
	// Worth loading for a claim; whether it can be claimed the domain says.
	selectQueued = `SELECT ` + taskColumns + ` FROM tasks INDEXED BY sqlite_autoindex_tasks_1
		WHERE id IN (SELECT unhex(value) FROM json_each(?)) AND ` + queued

	selectSizes = `SELECT id, octet_length(message) AS size FROM tasks INDEXED BY sqlite_autoindex_tasks_1
		WHERE id IN (SELECT unhex(value) FROM json_each(?)) AND ` + queued

	selectKnown = `SELECT id FROM tasks WHERE id IN (SELECT unhex(value) FROM json_each(?))`

	selectWithoutTexts = `SELECT ` + decidingColumns + ` FROM tasks WHERE id = ?`

	selectKey = `SELECT fingerprint, task_ids FROM idempotency_keys WHERE owner = ? AND key = ? AND expires_at > ?`
	upsertKey = `INSERT INTO idempotency_keys (owner, key, fingerprint, task_ids, expires_at)
		VALUES (:owner, :key, :fingerprint, :task_ids, :expires_at)
		ON CONFLICT (owner, key) DO UPDATE SET fingerprint = excluded.fingerprint, task_ids = excluded.task_ids, expires_at = excluded.expires_at`
	deleteKeys = `DELETE FROM idempotency_keys
		WHERE rowid IN (SELECT rowid FROM idempotency_keys WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)`

	selectQueue = `SELECT ` + queueColumns + ` FROM queues WHERE name = ?`
	upsertQueue = `INSERT INTO queues (` + queueColumns + `) VALUES (:name, :paused, :max_running, :rate_count, :rate_per, :full_at,
			:retention_completed, :retention_canceled, :retention_failed)
		ON CONFLICT (name) DO UPDATE SET paused = excluded.paused, max_running = excluded.max_running,
			rate_count = excluded.rate_count, rate_per = excluded.rate_per, full_at = excluded.full_at,
			retention_completed = excluded.retention_completed, retention_canceled = excluded.retention_canceled,
			retention_failed = excluded.retention_failed`
	countRunning = `SELECT count(*) FROM tasks WHERE ` + held + ` AND queue = ?`

	insertBulk = `INSERT INTO bulks (` + bulkColumns + `)
		VALUES (:id, :action, :filter, :cursor, :changed, :skipped, :created_at, :updated_at, :done_at,
			:search_window, :tries, :outcome, :reason)`
	updateBulk = `UPDATE bulks SET cursor = :cursor, changed = :changed, skipped = :skipped, updated_at = :updated_at, done_at = :done_at,
			search_window = :search_window, tries = :tries, outcome = :outcome, reason = :reason
		WHERE id = :id`
	selectNextBulk = `SELECT ` + bulkColumns + ` FROM bulks
		WHERE done_at IS NULL AND id NOT IN (SELECT unhex(value) FROM json_each(?)) ORDER BY id LIMIT 1`

	moveCursor = `INSERT INTO millrace_purges (walk, cursor) VALUES (?1, ?2)
		ON CONFLICT (walk) DO UPDATE SET cursor = excluded.cursor WHERE cursor = ?3`
	// The attempts of the task go by their foreign key.
	deleteExpired = `DELETE FROM tasks WHERE id = ? AND version = ? AND status = ? AND status IN ('completed', 'canceled', 'failed')
		RETURNING CASE WHEN json_valid(metadata) THEN metadata END`

	selectHeartbeat = `SELECT seen_at, beating_since, beat_interval FROM workers WHERE id = ?`
	upsertWorker    = `INSERT INTO workers (id, host, pid, version, started_at, seen_at, beating_since, beat, beat_interval, queues, capacity, running, abandoned, stuck)
		VALUES (:id, :host, :pid, :version, :started_at, :seen_at, :seen_at, :beat, :beat_interval, :queues, :capacity, :running, :abandoned, :stuck)
		ON CONFLICT (id) DO UPDATE SET host = excluded.host, pid = excluded.pid, version = excluded.version,
			started_at = excluded.started_at, beat = excluded.beat, beat_interval = excluded.beat_interval,
			queues = excluded.queues, capacity = excluded.capacity, running = excluded.running,
			abandoned = excluded.abandoned, stuck = excluded.stuck, seen_at = excluded.seen_at,
			beating_since = CASE
				WHEN excluded.seen_at - workers.seen_at > ` + strconv.Itoa(domain.FreshBeats) + ` * excluded.beat_interval THEN excluded.seen_at
				ELSE min(workers.beating_since, excluded.seen_at) -- the clock may have stepped back
			END
		WHERE excluded.beat > workers.beat`
	deleteWorker = `DELETE FROM workers WHERE id = ?
		AND NOT EXISTS (SELECT 1 FROM tasks WHERE tasks.worker = workers.id AND ` + sqlstatus.Held("tasks.") + `)`
	deleteSilent = `DELETE FROM workers WHERE NOT ` + aliveSQL("workers", "?") + `
		AND NOT EXISTS (SELECT 1 FROM tasks WHERE tasks.worker = workers.id AND ` + sqlstatus.Held("tasks.") + `)`
	deleteWorkers    = `DELETE FROM workers`
	selectToGiveBack = `SELECT ` + decidingColumns + ` FROM tasks INDEXED BY sqlite_autoindex_tasks_1
		WHERE id = ? AND ` + held + ` AND worker = ?`

	selectDue = `SELECT ` + decidingColumns + ` FROM tasks
		WHERE ` + unqueued + ` AND run_at <= ? ORDER BY run_at, id LIMIT ?`
	// The lanes are a JSON array. They are looked at one after the other until there is
	// enough, each in the order of the index: the CROSS says so.
	selectStranded = `SELECT ` + decidingColumns + ` FROM (
			SELECT value ->> 'q' AS lane_queue, value ->> 'p' AS lane_priority, value ->> 'b' AS lane_before FROM json_each(?)
		) CROSS JOIN tasks
		WHERE ` + queued + ` AND queue = lane_queue AND priority = lane_priority AND queued_at < lane_before LIMIT ?`
	selectOrphaned = `SELECT ` + decidingColumns + ` FROM tasks
		WHERE ` + held + ` AND NOT EXISTS (SELECT 1 FROM workers WHERE workers.id = tasks.worker AND ` + aliveSQL("workers", "?") + `)
		ORDER BY worker, id LIMIT ?`
)

var (
	plainQueries = []string{
		savepoint, rollbackTo, release, insertTask, insertMetadata, updateTask, deleteTask, deleteMetadata, selectTask,
		selectWithoutTexts, selectVersion, selectQueued, selectSizes, selectKnown, selectHeartbeat, deleteWorker, deleteSilent,
		deleteWorkers, selectToGiveBack,
		selectDue, selectStranded, selectOrphaned, selectKey, deleteKeys, selectQueue, countRunning, selectNextBulk, selectBulk,
		moveCursor, deleteExpired, upsertBatch, selectMinute, deleteMinutes, deleteBatches,
	}
	namedQueries = []string{insertRecord, upsertWorker, upsertKey, upsertQueue, insertBulk, updateBulk, upsertMinute}
)

// What is read outside of any transaction.
var (
	// The ids are a JSON array of their hexadecimal digits.
	selectVersions = `SELECT id, version FROM tasks WHERE id IN (SELECT unhex(value) FROM json_each(?))`
	selectMany     = `SELECT ` + taskColumns + ` FROM tasks WHERE id IN (SELECT unhex(value) FROM json_each(?)) ORDER BY id`
	selectOwned    = `SELECT id, attempt, claim_beat, deadline, stop_requested_at FROM tasks
		WHERE ` + held + ` AND worker = ? AND id > ? ORDER BY id LIMIT ?`
	selectAttempts   = `SELECT ` + recordColumns + ` FROM attempts WHERE task_id = ? ORDER BY number DESC LIMIT ?`
	selectBulks      = `SELECT ` + bulkColumns + ` FROM bulks WHERE id < ? ORDER BY id DESC LIMIT ?`
	selectBulk       = `SELECT ` + bulkColumns + ` FROM bulks WHERE id = ?`
	selectRetentions = `SELECT name, ` + retentionColumns + ` FROM queues
		WHERE retention_completed IS NOT NULL OR retention_canceled IS NOT NULL OR retention_failed IS NOT NULL`
	selectCursor     = `SELECT cursor FROM millrace_purges WHERE walk = ?`
	selectCandidates = `SELECT id, version, queue, status, updated_at, retention, keyed_until FROM tasks
		WHERE id > ? AND id < ? ORDER BY id LIMIT ?`
	selectOwnCandidates = `SELECT id, version, queue, status, updated_at, retention, keyed_until FROM tasks
		WHERE id > ? AND id < ? AND retention IS NOT NULL ORDER BY id LIMIT ?`
	selectNextDue = `SELECT run_at FROM tasks WHERE ` + unqueued + ` ORDER BY run_at LIMIT 1`
	// From one lane to the next, however many entries each has; the first of a lane is
	// its oldest. The + lets the comparison of the priority use the index.
	selectLanes = `WITH RECURSIVE
		heads (list, queue, priority, queued_at) AS (
			SELECT * FROM (
				SELECT rowid, queue, priority, queued_at FROM tasks WHERE ` + queued + `
				ORDER BY queue, priority, queued_at LIMIT 1)
			UNION ALL
			SELECT t.rowid, t.queue, t.priority, t.queued_at FROM heads JOIN tasks AS t ON t.rowid = (
				SELECT rowid FROM tasks AS n WHERE ` + sqlstatus.Queued("n.") + `
					AND (n.queue, n.priority) > (heads.queue, +heads.priority)
				ORDER BY n.queue, n.priority, n.queued_at LIMIT 1)
		)
		SELECT queue, priority, max(queued_at, 0) AS queued_at FROM heads WHERE queued_at < ?`
)
