package sqlite

import (
	"context"
	"slices"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// recordRow is a row of attempts: one that ended without success.
type recordRow struct {
	Task    taskID                `db:"task_id"`
	Number  int                   `db:"number"`
	Worker  domain.WorkerID       `db:"worker"`
	Started instant               `db:"started_at"`
	Ended   instant               `db:"ended_at"`
	Outcome domain.AttemptOutcome `db:"outcome"`
	Error   string                `db:"error"`
}

// recordColumns are the columns of a recordRow.
const recordColumns = `task_id, number, worker, started_at, ended_at, outcome, error`

func recordOf(id domain.TaskID, a domain.Attempt) recordRow {
	return recordRow{
		Task: taskID(id), Number: a.Number, Worker: a.Worker, Started: instant{a.StartedAt}, Ended: instant{a.EndedAt},
		Outcome: a.Outcome, Error: a.Error,
	}
}

// Attempts returns the recorded attempts of the task, by number.
func (r *TaskRepository) Attempts(ctx context.Context, id domain.TaskID) ([]domain.Attempt, error) {
	var rows []recordRow
	if err := r.db.read(ctx, &rows, selectAttempts, taskID(id), application.MaxAttemptRecords); err != nil {
		return nil, err
	}
	slices.Reverse(rows) // the query has found the latest
	attempts := make([]domain.Attempt, 0, len(rows))
	for _, row := range rows {
		if !domain.TimesInRange(row.Started.Time, row.Ended.Time) {
			continue // it must not hide the others
		}
		attempts = append(attempts, domain.Attempt{
			Number: row.Number, Worker: row.Worker, StartedAt: row.Started.Time, EndedAt: row.Ended.Time,
			Outcome: row.Outcome, Error: row.Error,
		})
	}
	return attempts, nil
}
