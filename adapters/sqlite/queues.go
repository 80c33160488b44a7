package sqlite

import (
	"context"
	"strconv"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

var _ application.QueueRepository = (*QueueRepository)(nil)

// QueueRepository is the record of the queues, in a file.
type QueueRepository struct{ db *DB }

// NewQueueRepository makes the repository of an open and migrated file.
func NewQueueRepository(db *DB) *QueueRepository { return &QueueRepository{db: db} }

// queueRow is a row of queues.
type queueRow struct {
	Name       domain.QueueName `db:"name"`
	Paused     bool             `db:"paused"`
	MaxRunning *int             `db:"max_running"`
	RateCount  *int             `db:"rate_count"`
	RatePer    span             `db:"rate_per"`
	FullAt     instant          `db:"full_at"`
	retentionRow
}

// retentionRow is how long the tasks of a queue are kept, as the file has it.
type retentionRow struct {
	Completed kept `db:"retention_completed"`
	Canceled  kept `db:"retention_canceled"`
	Failed    kept `db:"retention_failed"`
}

func (r retentionRow) retention() domain.Retention {
	return domain.Retention{Completed: domain.Keep(r.Completed), Canceled: domain.Keep(r.Canceled), Failed: domain.Keep(r.Failed)}
}

const retentionColumns = `retention_completed, retention_canceled, retention_failed`

// queueColumns are the columns of a queueRow.
const queueColumns = `name, paused, max_running, rate_count, rate_per, full_at, ` + retentionColumns

func queueRowOf(q domain.QueueSettings) queueRow {
	row := queueRow{Name: q.Name, Paused: q.Paused, FullAt: instant{q.FullAt}, retentionRow: retentionRow{
		Completed: kept(q.Retention.Completed), Canceled: kept(q.Retention.Canceled), Failed: kept(q.Retention.Failed),
	}}
	if q.MaxRunning > 0 {
		row.MaxRunning = &q.MaxRunning
	}
	if q.Rate.Count > 0 {
		row.RateCount, row.RatePer = &q.Rate.Count, span(q.Rate.Per)
	}
	return row
}

func (row queueRow) settings() domain.QueueSettings {
	q := domain.QueueSettings{Name: row.Name, Paused: row.Paused, FullAt: row.FullAt.orZero(), Retention: row.retention()}
	if row.MaxRunning != nil {
		q.MaxRunning = *row.MaxRunning
	}
	if row.RateCount != nil {
		q.Rate = domain.Rate{Count: *row.RateCount, Per: time.Duration(row.RatePer)}
	}
	return q
}

// queue is the settings of a queue: no limits, if it has no row.
func (tx *tx) queue(name domain.QueueName) (domain.QueueSettings, error) {
	row := queueRow{Name: name}
	_, err := tx.get(&row, selectQueue, name)
	return row.settings(), err
}

// queueInfoRow is what there is to say of a queue.
type queueInfoRow struct {
	queueRow
	Pending    int     `db:"pending"`
	Scheduled  int     `db:"scheduled"`
	Processing int     `db:"processing"`
	Oldest     instant `db:"oldest"`
	Workers    int     `db:"workers"`
	Abandoned  int     `db:"abandoned"`
	Stuck      int     `db:"stuck"`
}

func (row queueInfoRow) info() application.QueueInfo {
	return application.QueueInfo{
		QueueSettings: row.settings(), Pending: row.Pending, Scheduled: row.Scheduled, Processing: row.Processing,
		Oldest: row.Oldest.orZero(), Workers: row.Workers, Abandoned: row.Abandoned, Stuck: row.Stuck,
	}
}

// List returns the queues that there are, by name.
func (r *QueueRepository) List(ctx context.Context, q application.QueueQuery) ([]application.QueueInfo, error) {
	var rows []queueInfoRow
	if err := r.db.read(ctx, &rows, selectQueueInfos, instant{time.Now()}, q.After, q.Limit); err != nil {
		return nil, err
	}
	infos := make([]application.QueueInfo, len(rows))
	for i, row := range rows {
		infos[i] = row.info()
	}
	return infos, nil
}

// Get returns one queue, or domain.ErrQueueNotFound.
func (r *QueueRepository) Get(ctx context.Context, name domain.QueueName) (application.QueueInfo, error) {
	var rows []queueInfoRow
	if err := r.db.read(ctx, &rows, selectQueueInfo, instant{time.Now()}, name); err != nil {
		return application.QueueInfo{}, err
	}
	if len(rows) == 0 {
		return application.QueueInfo{}, domain.ErrQueueNotFound
	}
	return rows[0].info(), nil
}

// Change lets decide change what is set of a queue, and stores it.
func (r *QueueRepository) Change(ctx context.Context, name domain.QueueName, decide func(q *domain.QueueSettings) error) error {
	return r.db.write(ctx, func(tx *tx) error {
		q, err := tx.queue(name)
		if err != nil {
			return err
		}
		if err := decide(&q); err != nil {
			return err
		}
		_, err = tx.execRow(upsertQueue, queueRowOf(q))
		return err
	})
}

// Retentions returns what is set of queues about how long their tasks are kept.
func (r *QueueRepository) Retentions(ctx context.Context) (map[domain.QueueName]domain.Retention, error) {
	var rows []struct {
		Name domain.QueueName
		retentionRow
	}
	err := r.db.read(ctx, &rows, selectRetentions)
	all := make(map[domain.QueueName]domain.Retention, len(rows))
	for _, row := range rows {
		all[row.Name] = row.retention()
	}
	return all, err
}

// Ahead counts the tasks that are pulled before t, up to limit.
func (r *QueueRepository) Ahead(ctx context.Context, t *domain.Task, limit int) (int, error) {
	if err := r.db.file.check(); err != nil {
		return 0, err
	}
	s := t.State()
	var n int
	err := r.db.reader.GetContext(ctx, &n, countAhead, s.Queue, s.Priority, instant{s.QueuedAt}, limit)
	return n, r.db.translate(err)
}

// Queues are counted in one statement, and so at one moment, along the indexes of
// what waits and what runs.
var (
	selectQueueInfos = queueInfos("name > ?2", "queue > ?2", "q.value > ?2") + ` ORDER BY c.name LIMIT ?3`
	selectQueueInfo  = queueInfos("name = ?2", "queue = ?2", "q.value = ?2")
)

// queueInfos is the query for queues: those of which settings, tasks and what a
// worker takes meet the conditions. ?1 is the time: what is due by then may run, though
// nobody has marked it yet, and a worker whose lease has lapsed by then does not count.
func queueInfos(settings, tasks, taken string) string {
	return `WITH counted (name, pending, scheduled, processing, oldest, workers, abandoned, stuck) AS (
		SELECT name, 0, 0, 0, NULL, 0, 0, 0 FROM queues WHERE ` + settings + `
		UNION ALL
		SELECT queue, count(*), 0, 0, min(run_at), 0, 0, 0 FROM tasks
			WHERE ` + queued + ` AND ` + tasks + ` GROUP BY queue
		UNION ALL
		SELECT queue, count(*) FILTER (WHERE run_at <= ?1), count(*) FILTER (WHERE run_at > ?1), 0,
			min(run_at) FILTER (WHERE run_at <= ?1), 0, 0, 0
			FROM tasks WHERE ` + unqueued + ` AND ` + tasks + ` GROUP BY queue
		UNION ALL
		SELECT queue, 0, 0, count(*), NULL, 0, 0, 0 FROM tasks WHERE ` + held + ` AND ` + tasks + ` GROUP BY queue
		UNION ALL
		SELECT value, 0, 0, 0, NULL, count(*), sum(min(abandoned, 1000000)), sum(stuck) FROM (
			SELECT DISTINCT q.value, w.id, w.abandoned, w.stuck FROM workers AS w, json_each(w.queues) AS q
			WHERE ` + lives + ` AND ` + taken + `
		) GROUP BY value
	)
	SELECT c.name, coalesce(s.paused, 0) AS paused, s.max_running, s.rate_count, s.rate_per, s.full_at, s.retention_completed, s.retention_canceled, s.retention_failed,
		sum(c.pending) AS pending, sum(c.scheduled) AS scheduled, sum(c.processing) AS processing,
		min(c.oldest) AS oldest, sum(c.workers) AS workers,
		sum(c.abandoned) AS abandoned, sum(c.stuck) AS stuck
	FROM counted AS c LEFT JOIN queues AS s ON s.name = c.name GROUP BY c.name`
}

// countAhead goes along the lists of the queue, those of higher priority first.
var countAhead = `SELECT count(*) FROM (
		SELECT 1 FROM tasks WHERE ` + queued + ` AND queue = ?1 AND priority > ?2
		UNION ALL
		SELECT 1 FROM tasks WHERE ` + queued + ` AND queue = ?1 AND priority = ?2 AND queued_at < ?3
		LIMIT ?4)`

// lives is true of a worker w whose lease has not lapsed at ?1.
var lives = aliveSQL("w", "?1 - "+strconv.Itoa(domain.BeatsPerLease)+" * w.beat_interval")

// selectTakers asks for the workers that take a queue, and finds their tasks by worker.
var selectTakers = `SELECT w.capacity AS slots, w.running, w.stuck, (SELECT count(DISTINCT q.value) FROM json_each(w.queues) AS q) AS queues,
	(SELECT count(DISTINCT t.queue) FROM tasks AS t WHERE t.worker = w.id AND ` + held + `
		AND t.queue IN (SELECT q.value FROM json_each(w.queues) AS q)) AS busy,
	NOT EXISTS (SELECT 1 FROM tasks AS t WHERE t.worker = w.id AND ` + held + ` AND t.queue = ?2) AS idle
FROM workers AS w WHERE ` + lives + `
	AND EXISTS (SELECT 1 FROM json_each(w.queues) AS q WHERE q.value = ?2)`

// Takers returns the workers that take the queue.
func (r *QueueRepository) Takers(ctx context.Context, name domain.QueueName) ([]application.Taker, error) {
	var takers []application.Taker
	return takers, r.db.read(ctx, &takers, selectTakers, instant{time.Now()}, name)
}
