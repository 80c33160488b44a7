package postgres

import (
	"context"
	"database/sql"
	"strconv"

	"github.com/jmoiron/sqlx"

	"github.com/millrace/millrace/adapters/postgres/internal/pgconn"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

var _ application.QueueRepository = (*QueueRepository)(nil)

// QueueRepository keeps the settings of queues in the table queues, and counts
// their tasks in the partial indexes of what waits and what runs. It is safe for
// concurrent use.
type QueueRepository struct {
	db *DB
}

// NewQueueRepository makes a repository on db, whose schema Migrate has made.
func NewQueueRepository(db *DB) *QueueRepository { return &QueueRepository{db: db} }

// infosSQL looks at as many queues after $1 as $2 says, infoSQL at the one that is called $1.
var (
	infosSQL = infosWhere(` AND t.queue > $1 COLLATE "C"`, `AND name > $1 COLLATE "C"`, `WHERE name > $1 COLLATE "C"`) + "$2"
	infoSQL  = infosWhere(" AND t.queue = $1", "AND name = $1", "WHERE name = $1") + "1"

	// livesSQL is true of a worker whose lease has not lapsed. An interval that no worker
	// has could not be multiplied.
	livesSQL = aliveSQL("w", strconv.Itoa(domain.BeatsPerLease)+" * least(w.beat_interval, interval '1 day') ")
)

// readable leaves out of the oldest what is in a row that cannot be read.
var readable = "t.run_at BETWEEN " + earliestSQL + " AND " + latestSQL

func infosWhere(ofTask, ofWorker, ofQueue string) string {
	return `
WITH queued AS (
	SELECT t.queue AS name, count(*) AS n, min(t.run_at) FILTER (WHERE ` + readable + `) AS oldest FROM tasks AS t WHERE ` + queued + ofTask + ` GROUP BY t.queue
), unqueued AS (
	SELECT t.queue AS name, count(*) FILTER (WHERE t.run_at <= now()) AS due, count(*) FILTER (WHERE t.run_at > now()) AS later,
		min(t.run_at) FILTER (WHERE t.run_at <= now() AND ` + readable + `) AS oldest
	FROM tasks AS t WHERE ` + unqueued + ofTask + ` GROUP BY t.queue
), running AS (
	SELECT t.queue AS name, count(*) AS n FROM tasks AS t WHERE ` + processing + ofTask + ` GROUP BY t.queue
), taken AS (
	SELECT name, count(*) AS n, sum(least(abandoned, 1000000))::bigint AS abandoned, count(*) FILTER (WHERE stuck) AS stuck FROM (
		SELECT DISTINCT name, w.id, w.abandoned, w.stuck FROM workers AS w, unnest(w.queues) AS name WHERE ` + livesSQL + ofWorker + `
	) AS takers GROUP BY name
), names AS (
	SELECT name FROM queues ` + ofQueue + ` UNION SELECT name FROM queued UNION SELECT name FROM unqueued
	UNION SELECT name FROM running UNION SELECT name FROM taken
)
SELECT name, coalesce(q.paused, false) AS paused, q.max_running, q.rate_count, q.rate_per, q.full_at, ` + retentionColumns + `,
	coalesce(queued.n, 0) + coalesce(unqueued.due, 0) AS pending, coalesce(unqueued.later, 0) AS scheduled,
	coalesce(running.n, 0) AS processing, least(queued.oldest, unqueued.oldest) AS oldest, coalesce(taken.n, 0) AS workers,
	coalesce(taken.abandoned, 0) AS abandoned, coalesce(taken.stuck, 0) AS stuck
FROM names LEFT JOIN queues AS q USING (name) LEFT JOIN queued USING (name) LEFT JOIN unqueued USING (name)
LEFT JOIN running USING (name) LEFT JOIN taken USING (name)
ORDER BY name COLLATE "C" LIMIT `
}

// List returns the queues by name.
func (r *QueueRepository) List(ctx context.Context, q application.QueueQuery) ([]application.QueueInfo, error) {
	return r.infos(ctx, infosSQL, string(q.After), q.Limit)
}

// Get returns a queue, or domain.ErrQueueNotFound.
func (r *QueueRepository) Get(ctx context.Context, name domain.QueueName) (application.QueueInfo, error) {
	infos, err := r.infos(ctx, infoSQL, string(name))
	switch {
	case err != nil:
		return application.QueueInfo{}, err
	case len(infos) == 0:
		return application.QueueInfo{}, domain.ErrQueueNotFound
	}
	return infos[0], nil
}

func (r *QueueRepository) infos(ctx context.Context, query string, args ...any) ([]application.QueueInfo, error) {
	var rows []struct {
		settingsRow
		Pending    int
		Scheduled  int
		Processing int
		Oldest     instant
		Workers    int
		Abandoned  int
		Stuck      int
	}
	if err := r.db.calls.Read(ctx, func(ctx context.Context, q sqlx.QueryerContext) error {
		return sqlx.SelectContext(ctx, q, &rows, query, args...)
	}); err != nil {
		return nil, err
	}
	infos := make([]application.QueueInfo, len(rows))
	for i, r := range rows {
		infos[i] = application.QueueInfo{
			QueueSettings: r.settings(), Pending: r.Pending, Scheduled: r.Scheduled, Processing: r.Processing,
			Oldest: r.Oldest.Time, Workers: r.Workers, Abandoned: r.Abandoned, Stuck: r.Stuck,
		}
	}
	return infos, nil
}

// Change locks the row of the queue, which it makes if there is none, and stores
// what decide has made of it. A change that is refused leaves no row behind.
func (r *QueueRepository) Change(ctx context.Context, name domain.QueueName, decide func(q *domain.QueueSettings) error) error {
	return r.db.calls.Write(ctx, func(ctx context.Context, c *sqlx.Conn) error {
		return pgconn.Transact(ctx, c, func(tx *sqlx.Tx) error {
			if _, err := tx.ExecContext(ctx, "INSERT INTO queues (name, paused) VALUES ($1, false) ON CONFLICT DO NOTHING", string(name)); err != nil {
				return err
			}
			var stored settingsRow
			if err := tx.GetContext(ctx, &stored, "SELECT "+settingsColumns+" FROM queues AS q WHERE q.name = $1 FOR UPDATE", string(name)); err != nil {
				return err
			}
			q := stored.settings()
			if err := decide(&q); err != nil {
				return err
			}
			orNone := func(n int64) sql.NullInt64 { return sql.NullInt64{Int64: n, Valid: n != 0} }
			_, err := tx.ExecContext(ctx, `UPDATE queues
				SET paused = $2, max_running = $3, rate_count = $4, rate_per = $5, full_at = $6,
					retention_completed = $7, retention_canceled = $8, retention_failed = $9 WHERE name = $1`,
				string(name), q.Paused, orNone(int64(q.MaxRunning)), orNone(int64(q.Rate.Count)), orNone(q.Rate.Per.Microseconds()), orNull(q.FullAt),
				keptFor(q.Retention.Completed), keptFor(q.Retention.Canceled), keptFor(q.Retention.Failed))
			return err
		})
	})
}

// aheadSQL counts in two ranges of an index, and in neither further than $4.
var aheadSQL = `SELECT count(*) FROM (
	(SELECT FROM tasks AS t WHERE ` + queued + ` AND t.queue = $1 AND t.priority > $2 LIMIT $4)
	UNION ALL
	(SELECT FROM tasks AS t WHERE ` + queued + ` AND t.queue = $1 AND t.priority = $2 AND t.queued_at < $3::timestamptz LIMIT $4)
	LIMIT $4
) AS ahead`

// Ahead counts the tasks that are pulled before t, up to limit.
func (r *QueueRepository) Ahead(ctx context.Context, t *domain.Task, limit int) (n int, err error) {
	s := t.State()
	err = r.db.calls.Read(ctx, func(ctx context.Context, q sqlx.QueryerContext) error {
		return sqlx.GetContext(ctx, q, &n, aheadSQL, string(s.Queue), s.Priority, s.QueuedAt, limit)
	})
	return n, err
}

// takersSQL asks for the workers that take a queue, and finds their tasks by worker.
var takersSQL = `SELECT w.capacity AS slots, w.running, w.stuck, (SELECT count(DISTINCT name) FROM unnest(w.queues) AS name) AS queues,
	(SELECT count(DISTINCT t.queue) FROM tasks AS t WHERE ` + processing + ` AND t.worker = w.id AND t.queue = ANY(w.queues)) AS busy,
	NOT EXISTS (SELECT 1 FROM tasks AS t WHERE ` + processing + ` AND t.worker = w.id AND t.queue = $1) AS idle
FROM workers AS w WHERE $1 = ANY(w.queues) AND ` + livesSQL

// Takers returns the workers that take the queue.
func (r *QueueRepository) Takers(ctx context.Context, name domain.QueueName) ([]application.Taker, error) {
	var takers []application.Taker
	err := r.db.calls.Read(ctx, func(ctx context.Context, q sqlx.QueryerContext) error {
		return sqlx.SelectContext(ctx, q, &takers, takersSQL, string(name))
	})
	return takers, err
}
