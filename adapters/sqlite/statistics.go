package sqlite

import (
	"context"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

var _ application.StatisticsRepository = (*StatisticsRepository)(nil)

// StatisticsRepository is the record of what happened, in a file.
type StatisticsRepository struct{ db *DB }

// NewStatisticsRepository makes the repository of an open and migrated file.
func NewStatisticsRepository(db *DB) *StatisticsRepository { return &StatisticsRepository{db: db} }

// minuteRow is a row of queue_minutes.
type minuteRow struct {
	Queue          domain.QueueName `db:"queue"`
	Minute         instant          `db:"minute"`
	Submitted      int64            `db:"submitted"`
	Started        int64            `db:"started"`
	Completed      int64            `db:"completed"`
	FailedAttempts int64            `db:"failed_attempts"`
	Failed         int64            `db:"failed"`
	Canceled       int64            `db:"canceled"`
	Rescued        int64            `db:"rescued"`
	Wait           string           `db:"wait"`
	Run            string           `db:"run"`
}

func minuteRowOf(m domain.QueueMinute) minuteRow {
	return minuteRow{
		Queue: m.Queue, Minute: instant{m.Minute}, Submitted: m.Submitted, Started: m.Started, Completed: m.Completed,
		FailedAttempts: m.FailedAttempts, Failed: m.Failed, Canceled: m.Canceled, Rescued: m.Rescued, Wait: m.Wait.String(), Run: m.Run.String(),
	}
}

// minute is what the row says; a histogram that cannot be read is empty.
func (row minuteRow) minute() domain.QueueMinute {
	wait, _ := domain.ParseHistogram(row.Wait)
	run, _ := domain.ParseHistogram(row.Run)
	return domain.QueueMinute{Queue: row.Queue, Minute: row.Minute.Time, QueueCounts: domain.QueueCounts{
		Submitted: row.Submitted, Started: row.Started, Completed: row.Completed, FailedAttempts: row.FailedAttempts,
		Failed: row.Failed, Canceled: row.Canceled, Rescued: row.Rescued, Wait: wait, Run: run,
	}}
}

const (
	minuteColumns = `queue, minute, submitted, started, completed, failed_attempts, failed, canceled, rescued, wait, run`

	upsertBatch = `INSERT INTO statistics_batches (source, number, added_at) VALUES (?, ?, ?)
		ON CONFLICT (source) DO UPDATE SET number = excluded.number, added_at = excluded.added_at
		WHERE excluded.number > statistics_batches.number`
	selectMinute = `SELECT ` + minuteColumns + ` FROM queue_minutes WHERE queue = ? AND minute = ?`
	upsertMinute = `INSERT INTO queue_minutes (` + minuteColumns + `)
		VALUES (:queue, :minute, :submitted, :started, :completed, :failed_attempts, :failed, :canceled, :rescued, :wait, :run)
		ON CONFLICT (queue, minute) DO UPDATE SET submitted = excluded.submitted, started = excluded.started,
			completed = excluded.completed, failed_attempts = excluded.failed_attempts, failed = excluded.failed,
			canceled = excluded.canceled, rescued = excluded.rescued, wait = excluded.wait, run = excluded.run`
	deleteMinutes = `DELETE FROM queue_minutes WHERE rowid IN (SELECT rowid FROM queue_minutes WHERE minute < ? ORDER BY minute LIMIT ?)`
	deleteBatches = `DELETE FROM statistics_batches WHERE added_at < ?`

	selectMinutes        = `SELECT ` + minuteColumns + ` FROM queue_minutes WHERE minute >= ? AND minute < ?`
	selectMinutesOfQueue = selectMinutes + ` AND queue = ?`
)

// Add adds a batch, unless it was added before. The lock on the file lets nobody else add
// meanwhile.
func (r *StatisticsRepository) Add(ctx context.Context, b application.StatisticsBatch) error {
	return r.db.write(ctx, func(tx *tx) error {
		fresh, err := tx.count(upsertBatch, b.Source, b.Number, instant{domain.Moment(time.Now())})
		if err != nil || fresh == 0 {
			return err
		}
		for _, m := range b.Minutes {
			var row minuteRow
			found, err := tx.get(&row, selectMinute, m.Queue, instant{m.Minute})
			if err != nil {
				return err
			}
			if found {
				m.QueueCounts = m.Plus(row.minute().QueueCounts)
			}
			if _, err := tx.execRow(upsertMinute, minuteRowOf(m)); err != nil {
				return err
			}
		}
		return nil
	})
}

// Read returns the minutes that are stored.
func (r *StatisticsRepository) Read(ctx context.Context, q application.StatisticsQuery) ([]domain.QueueMinute, error) {
	query, args := selectMinutes, []any{instant{q.From}, instant{q.Until}}
	if q.Queue != "" {
		query, args = selectMinutesOfQueue, append(args, q.Queue)
	}
	var rows []minuteRow
	if err := r.db.read(ctx, &rows, query, args...); err != nil {
		return nil, err
	}
	minutes := make([]domain.QueueMinute, len(rows))
	for i, row := range rows {
		minutes[i] = row.minute()
	}
	return minutes, nil
}

// Forget removes minutes that are old, and sources that are.
func (r *StatisticsRepository) Forget(ctx context.Context, before time.Time, limit int) (n int, err error) {
	err = r.db.write(ctx, func(tx *tx) error {
		gone, err := tx.count(deleteMinutes, instant{before}, limit)
		if err != nil {
			return err
		}
		n = int(gone)
		return tx.exec(deleteBatches, instant{before})
	})
	return n, err
}
