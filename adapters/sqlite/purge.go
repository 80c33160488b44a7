package sqlite

import (
	"context"
	"database/sql"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

var _ application.PurgeRepository = (*PurgeRepository)(nil)

// PurgeRepository deletes the tasks that have expired, from a file. The pages that become
// free are used again by the next tasks, so a file in which as much comes as goes does not
// grow. It does not shrink either: auto_vacuum would move pages about with every purge, and
// cannot be turned on in a file that has tables.
type PurgeRepository struct{ db *DB }

// NewPurgeRepository makes the repository of an open and migrated file.
func NewPurgeRepository(db *DB) *PurgeRepository { return &PurgeRepository{db: db} }

// PurgeCursor returns how far the walk has come.
func (r *PurgeRepository) PurgeCursor(ctx context.Context, walk application.PurgeWalk) (domain.TaskID, error) {
	var cursors []taskID
	if err := r.db.read(ctx, &cursors, selectCursor, string(walk)); err != nil || len(cursors) == 0 {
		return domain.TaskID{}, err
	}
	return domain.TaskID(cursors[0]), nil
}

// PurgeCandidates returns the tasks of the window.
func (r *PurgeRepository) PurgeCandidates(ctx context.Context, walk application.PurgeWalk, w application.PurgeWindow) ([]domain.PurgeCandidate, error) {
	query := selectCandidates
	if walk == application.PurgeOwn {
		query = selectOwnCandidates
	}
	var rows []struct {
		ID         taskID           `db:"id"`
		Version    int64            `db:"version"`
		Queue      domain.QueueName `db:"queue"`
		Status     domain.Status    `db:"status"`
		UpdatedAt  instant          `db:"updated_at"`
		Retention  span             `db:"retention"`
		KeyedUntil instant          `db:"keyed_until"`
	}
	if err := r.db.read(ctx, &rows, query, taskID(w.After), taskID(w.Before), w.Limit); err != nil {
		return nil, err
	}
	candidates := make([]domain.PurgeCandidate, len(rows))
	for i, row := range rows {
		candidates[i] = domain.PurgeCandidate{
			ID: domain.TaskID(row.ID), Version: row.Version, Queue: row.Queue, Status: row.Status,
			UpdatedAt: row.UpdatedAt.Time, Retention: time.Duration(row.Retention), KeyedUntil: row.KeyedUntil.Time,
		}
	}
	return candidates, nil
}

// Purge deletes the tasks and moves the cursor. No row is ever locked: there is one writer.
func (r *PurgeRepository) Purge(ctx context.Context, s application.PurgeStep) (application.PurgeResult, error) {
	result := application.PurgeResult{Refused: map[domain.TaskID]error{}}
	err := r.db.write(ctx, func(tx *tx) error {
		moved, err := tx.count(moveCursor, string(s.Walk), taskID(s.To), taskID(s.From))
		if err != nil || moved == 0 {
			return err
		}
		result.Moved = true
		for _, t := range s.Expired {
			if err := tx.purge(t, &result); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return application.PurgeResult{}, err
	}
	return result, nil
}

// purge deletes one task if it is as it was, and then what finds it by its metadata: a task
// that SQLite refuses to delete keeps everything.
func (tx *tx) purge(t domain.PurgeCandidate, to *application.PurgeResult) error {
	var metadata sql.NullString
	found, err := tx.get(&metadata, deleteExpired, taskID(t.ID), t.Version, string(t.Status))
	switch {
	case aboutData(err):
		to.Refused[t.ID] = err
		return nil
	case err != nil || !found:
		return err
	}
	to.Purged = append(to.Purged, t.ID)
	if metadata.Valid {
		return tx.exec(deleteMetadata, taskID(t.ID), metadata.String)
	}
	return nil
}
