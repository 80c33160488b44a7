package postgres

import (
	"context"

	"github.com/jmoiron/sqlx"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// claimSQL does to a row what domain.Task.Claim does to a task. The rows are
// locked in the order of their ids, so that two claims of the same batch do not
// deadlock; the waits are over when the outer statement asks for the worker.
const claimSQL = `
WITH locked AS MATERIALIZED (
	SELECT id FROM tasks
	WHERE id = ANY($1::uuid[]) AND status = ANY($2::text[]) AND queued_at IS NOT NULL
	ORDER BY id FOR UPDATE
)
UPDATE tasks AS t SET
	status = $3, version = t.version + 1, updated_at = greatest(t.updated_at, $4::timestamptz),
	attempt = t.attempt + 1, worker = $5::text, claim_beat = $6,
	deadline = greatest(t.updated_at, $4::timestamptz) + $7::bigint * interval '1 microsecond',
	started_at = greatest(t.updated_at, $4::timestamptz), queued_at = NULL, stop_requested_at = NULL
FROM locked
WHERE t.id = locked.id AND EXISTS (` + freshSQL + `AND w.id = $5::text AND locked.id IS NOT NULL)
RETURNING `

// freshSQL finds the workers whose heartbeat is younger than two of their beats.
const freshSQL = `SELECT FROM workers AS w WHERE w.seen_at > clock_timestamp() - 2 * w.beat_interval `

// Claim makes tasks the worker's with one statement.
func (r *TaskRepository) Claim(ctx context.Context, c application.ClaimRequest) ([]*domain.Task, error) {
	var rows []row
	err := r.db.write(ctx, func(ctx context.Context, x *sqlx.Conn) error {
		rows = nil
		err := x.SelectContext(ctx, &rows, claimSQL+selectColumns, uuidsOf(c.IDs),
			statusesOf(domain.Before(domain.StatusProcessing)), string(domain.StatusProcessing),
			moment(c.Now), string(c.Worker), c.Beat, c.Timeout.Microseconds())
		if err != nil || len(rows) > 0 {
			return err
		}
		var fresh bool
		if err := x.GetContext(ctx, &fresh, "SELECT EXISTS ("+freshSQL+"AND w.id = $1)", string(c.Worker)); err != nil {
			return err
		}
		if !fresh {
			return domain.ErrWorkerStale
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return inOrder(rows, c.IDs), nil
}

// inOrder sorts what was claimed as the ids were given. A row that cannot be
// read is left out, as an error would lose sight of all the others: the next
// beat finds it held by the worker and not listed.
func inOrder(rows []row, ids []domain.TaskID) []*domain.Task {
	byID := make(map[domain.TaskID]row, len(rows))
	for _, r := range rows {
		byID[domain.TaskID(r.ID)] = r
	}
	tasks := make([]*domain.Task, 0, len(rows))
	for _, id := range ids {
		r, ok := byID[id]
		if !ok {
			continue
		}
		delete(byID, id) // an id that is given twice was claimed once
		if t, err := r.task(); err == nil {
			tasks = append(tasks, t)
		}
	}
	return tasks
}
