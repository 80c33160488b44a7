package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/millrace/millrace/adapters/postgres/internal/pgenc"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

var _ application.StatisticsRepository = (*StatisticsRepository)(nil)

// StatisticsRepository keeps what happened in the table queue_minutes. It is safe for
// concurrent use.
type StatisticsRepository struct {
	db *DB
}

// NewStatisticsRepository makes a repository on db, whose schema Migrate has made.
func NewStatisticsRepository(db *DB) *StatisticsRepository { return &StatisticsRepository{db: db} }

// addStatisticsSQL locks the rows in one order, whoever adds. The batch is noted and added
// in one statement, so that neither is done without the other.
const addStatisticsSQL = `
WITH fresh AS (
	INSERT INTO statistics_batches AS b (source, number, added_at) VALUES ($1, $2, now())
	ON CONFLICT (source) DO UPDATE SET number = excluded.number, added_at = excluded.added_at WHERE b.number < excluded.number
	RETURNING source
)
INSERT INTO queue_minutes AS m (queue, minute, submitted, started, completed, failed_attempts, failed, canceled, rescued, wait, run)
SELECT u.queue, u.minute, u.submitted, u.started, u.completed, u.failed_attempts, u.failed, u.canceled, u.rescued,
	string_to_array(u.wait, ' ')::bigint[], string_to_array(u.run, ' ')::bigint[]
FROM fresh, unnest($3::text[], $4::timestamptz[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[],
	$11::bigint[], $12::text[], $13::text[])
	AS u(queue, minute, submitted, started, completed, failed_attempts, failed, canceled, rescued, wait, run)
ORDER BY u.queue COLLATE "C", u.minute
ON CONFLICT (queue, minute) DO UPDATE SET
	submitted = m.submitted + excluded.submitted, started = m.started + excluded.started, completed = m.completed + excluded.completed,
	failed_attempts = m.failed_attempts + excluded.failed_attempts, failed = m.failed + excluded.failed,
	canceled = m.canceled + excluded.canceled, rescued = m.rescued + excluded.rescued,
	wait = (SELECT coalesce(array_agg(coalesce(x.a, 0) + coalesce(x.b, 0) ORDER BY x.i), '{}')
		FROM unnest(m.wait, excluded.wait) WITH ORDINALITY AS x(a, b, i)),
	run = (SELECT coalesce(array_agg(coalesce(x.a, 0) + coalesce(x.b, 0) ORDER BY x.i), '{}')
		FROM unnest(m.run, excluded.run) WITH ORDINALITY AS x(a, b, i))`

// Add adds a batch, unless it was added before.
func (r *StatisticsRepository) Add(ctx context.Context, b application.StatisticsBatch) error {
	n := len(b.Minutes)
	queues, minutes, waits, runs := make([]string, n), make([]time.Time, n), make([]string, n), make([]string, n)
	var counts [7][]int64
	for i, m := range b.Minutes {
		queues[i], minutes[i], waits[i], runs[i] = string(m.Queue), m.Minute, m.Wait.String(), m.Run.String()
		for j, c := range []int64{m.Submitted, m.Started, m.Completed, m.FailedAttempts, m.Failed, m.Canceled, m.Rescued} {
			counts[j] = append(counts[j], c)
		}
	}
	args := []any{string(b.Source), b.Number, pgenc.Texts(queues), pgenc.Time.Array(minutes)}
	for _, column := range counts {
		args = append(args, pgenc.Int.Array(column))
	}
	args = append(args, pgenc.Texts(waits), pgenc.Texts(runs))
	if _, err := r.db.calls.Exec(ctx, addStatisticsSQL, args...); err != nil {
		return fmt.Errorf("add statistics: %w", err)
	}
	return nil
}

const (
	statisticsColumns = `SELECT queue, minute, submitted, started, completed, failed_attempts, failed, canceled, rescued,
	array_to_string(wait, ' ') AS wait, array_to_string(run, ' ') AS run FROM queue_minutes WHERE minute >= $1 AND minute < $2`
	statisticsOfQueueSQL = statisticsColumns + ` AND queue = $3`

	// forgetMinutesSQL waits for no row that somebody else has locked.
	forgetMinutesSQL = `DELETE FROM queue_minutes AS m USING (
	SELECT queue, minute FROM queue_minutes WHERE minute < $1 ORDER BY minute LIMIT $2 FOR UPDATE SKIP LOCKED
) AS old WHERE m.queue = old.queue AND m.minute = old.minute`
	forgetSourcesSQL = `DELETE FROM statistics_batches AS b USING (
	SELECT source FROM statistics_batches WHERE added_at < $1 FOR UPDATE SKIP LOCKED
) AS old WHERE b.source = old.source`
)

// minuteRow is a row of queue_minutes.
type minuteRow struct {
	Queue          string
	Minute         time.Time
	Submitted      int64
	Started        int64
	Completed      int64
	FailedAttempts int64 `db:"failed_attempts"`
	Failed         int64
	Canceled       int64
	Rescued        int64
	Wait           string
	Run            string
}

// minute is what the row says; a histogram that cannot be read is empty.
func (row minuteRow) minute() domain.QueueMinute {
	wait, _ := domain.ParseHistogram(row.Wait)
	run, _ := domain.ParseHistogram(row.Run)
	return domain.QueueMinute{Queue: domain.QueueName(row.Queue), Minute: row.Minute.UTC(), QueueCounts: domain.QueueCounts{
		Submitted: row.Submitted, Started: row.Started, Completed: row.Completed, FailedAttempts: row.FailedAttempts,
		Failed: row.Failed, Canceled: row.Canceled, Rescued: row.Rescued, Wait: wait, Run: run,
	}}
}

// Read returns the minutes that are stored.
func (r *StatisticsRepository) Read(ctx context.Context, q application.StatisticsQuery) ([]domain.QueueMinute, error) {
	query, args := statisticsColumns, []any{q.From, q.Until}
	if q.Queue != "" {
		query, args = statisticsOfQueueSQL, append(args, string(q.Queue))
	}
	var rows []minuteRow
	if err := r.db.calls.Read(ctx, func(ctx context.Context, c sqlx.QueryerContext) error {
		return sqlx.SelectContext(ctx, c, &rows, query, args...)
	}); err != nil {
		return nil, err
	}
	minutes := make([]domain.QueueMinute, len(rows))
	for i, row := range rows {
		minutes[i] = row.minute()
	}
	return minutes, nil
}

// Forget removes minutes that are old, and sources that are.
func (r *StatisticsRepository) Forget(ctx context.Context, before time.Time, limit int) (int, error) {
	n, err := r.db.calls.Exec(ctx, forgetMinutesSQL, before, limit)
	if err != nil {
		return 0, err
	}
	_, err = r.db.calls.Exec(ctx, forgetSourcesSQL, before)
	return n, err
}
