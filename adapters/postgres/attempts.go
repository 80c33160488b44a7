package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/millrace/millrace/adapters/postgres/internal/pgenc"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// record is an attempt that ended without success, as it is stored.
type record struct {
	task domain.TaskID
	domain.Attempt
}

var recordColumns = []pgenc.Column[record]{
	pgenc.PerRow(pgenc.ColumnOf("task_id", pgenc.UUID, func(r *record) uuid.UUID { return uuid.UUID(r.task) })),
	pgenc.ColumnOf("number", pgenc.Int, func(r *record) int64 { return int64(r.Number) }),
	pgenc.ColumnOf("worker", pgenc.Text, func(r *record) string { return string(r.Worker) }),
	pgenc.ColumnOf("started_at", pgenc.Time, func(r *record) time.Time { return r.StartedAt }),
	pgenc.ColumnOf("ended_at", pgenc.Time, func(r *record) time.Time { return r.EndedAt }),
	pgenc.ColumnOf("outcome", pgenc.Text, func(r *record) string { return string(r.Outcome) }),
	pgenc.ColumnOf("error", pgenc.Text, func(r *record) string { return r.Error }),
}

func recordsOf(tasks []*domain.Task) []record {
	var records []record
	for _, t := range tasks {
		for _, a := range t.EndedAttempts() {
			records = append(records, record{t.ID(), a})
		}
	}
	return records
}

// $1: the task, $2: how many at most.
const attemptsSQL = `
SELECT number, worker, started_at, ended_at, outcome, error FROM attempts
WHERE task_id = $1 ORDER BY number DESC LIMIT $2`

// Attempts returns the recorded attempts of the task, by number.
func (r *TaskRepository) Attempts(ctx context.Context, id domain.TaskID) ([]domain.Attempt, error) {
	var rows []struct {
		Number    int     `db:"number"`
		Worker    string  `db:"worker"`
		StartedAt instant `db:"started_at"`
		EndedAt   instant `db:"ended_at"`
		Outcome   string  `db:"outcome"`
		Error     string  `db:"error"`
	}
	if err := r.db.calls.Read(ctx, func(ctx context.Context, q sqlx.QueryerContext) error {
		return sqlx.SelectContext(ctx, q, &rows, attemptsSQL, id.String(), application.MaxAttemptRecords)
	}); err != nil {
		return nil, err
	}
	slices.Reverse(rows) // the query has found the latest
	attempts := make([]domain.Attempt, 0, len(rows))
	for _, row := range rows {
		if !domain.TimesInRange(row.StartedAt.Time, row.EndedAt.Time) {
			continue // it must not hide the others
		}
		attempts = append(attempts, domain.Attempt{
			Number: row.Number, Worker: domain.WorkerID(row.Worker), StartedAt: row.StartedAt.Time, EndedAt: row.EndedAt.Time,
			Outcome: domain.AttemptOutcome(row.Outcome), Error: row.Error,
		})
	}
	return attempts, nil
}
