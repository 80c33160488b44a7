package postgres

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/millrace/millrace/adapters/postgres/internal/pgconn"
	"github.com/millrace/millrace/adapters/postgres/internal/pgenc"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

var _ application.PurgeRepository = (*PurgeRepository)(nil)

// PurgeRepository deletes the tasks that have expired. It is safe for concurrent use, by
// any number of processes.
type PurgeRepository struct {
	db *DB
}

// NewPurgeRepository makes a repository on db, whose schema Migrate has made.
func NewPurgeRepository(db *DB) *PurgeRepository { return &PurgeRepository{db: db} }

// PurgeCursor returns how far the walk has come.
func (r *PurgeRepository) PurgeCursor(ctx context.Context, walk application.PurgeWalk) (domain.TaskID, error) {
	var cursor uuid.UUID
	err := r.db.calls.Read(ctx, func(ctx context.Context, q sqlx.QueryerContext) error {
		err := sqlx.GetContext(ctx, q, &cursor, "SELECT cursor FROM millrace_purges WHERE walk = $1", string(walk))
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	return domain.TaskID(cursor), err
}

// candidatesSQL goes along an index of ids: its cost is that of the limit. A walk of the
// own has a partial index.
func candidatesSQL(walk application.PurgeWalk) string {
	own := ""
	if walk == application.PurgeOwn {
		own = "AND t.retention IS NOT NULL "
	}
	return "SELECT t.id, t.version, t.queue, t.status, t.updated_at, t.retention, t.keyed_until FROM tasks AS t " +
		"WHERE t.id > $1::uuid AND t.id < $2::uuid " + own + "ORDER BY t.id LIMIT $3"
}

// PurgeCandidates returns the tasks of the window.
func (r *PurgeRepository) PurgeCandidates(ctx context.Context, walk application.PurgeWalk, w application.PurgeWindow) ([]domain.PurgeCandidate, error) {
	var rows []struct {
		ID         uuid.UUID     `db:"id"`
		Version    int64         `db:"version"`
		Queue      string        `db:"queue"`
		Status     string        `db:"status"`
		UpdatedAt  instant       `db:"updated_at"`
		Retention  sql.NullInt64 `db:"retention"` // microseconds
		KeyedUntil instant       `db:"keyed_until"`
	}
	err := r.db.calls.Read(ctx, func(ctx context.Context, q sqlx.QueryerContext) error {
		return sqlx.SelectContext(ctx, q, &rows, candidatesSQL(walk), w.After.String(), w.Before.String(), w.Limit)
	})
	candidates := make([]domain.PurgeCandidate, len(rows))
	for i, r := range rows {
		candidates[i] = domain.PurgeCandidate{
			ID: domain.TaskID(r.ID), Version: r.Version, Queue: domain.QueueName(r.Queue), Status: domain.Status(r.Status),
			UpdatedAt: r.UpdatedAt.Time, Retention: time.Duration(r.Retention.Int64) * time.Microsecond, KeyedUntil: r.KeyedUntil.Time,
		}
	}
	return candidates, err
}

var (
	moveCursorSQL = `INSERT INTO millrace_purges AS p (walk, cursor) VALUES ($1, $2::uuid)
		ON CONFLICT (walk) DO UPDATE SET cursor = excluded.cursor WHERE p.cursor = $3::uuid`

	// purgeSQL deletes those of the tasks ($1, with their versions in $2) that have one of
	// the statuses ($3) and that nobody has locked. Records of attempts go by their foreign
	// key. The rows of task_metadata are found by the pairs, which are in the task; what is
	// no object has none. With = in place of ANY the joins could be planned over whole tables.
	purgeSQL = pgconn.Prepared(`WITH expired AS MATERIALIZED (
			SELECT t.id FROM unnest((SELECT $1::uuid[]), (SELECT $2::bigint[])) AS n(id, version), tasks AS t
			WHERE t.id = ANY(ARRAY[n.id]) AND t.version = n.version AND t.status = ANY($3::text[])
			FOR UPDATE OF t SKIP LOCKED
		), purged AS (
			DELETE FROM tasks AS t USING expired WHERE t.id = ANY(ARRAY[expired.id]) RETURNING t.id, t.metadata
		), pairs AS MATERIALIZED (
			SELECT purged.id, pair.key, pair.value
			FROM purged, jsonb_each_text(CASE WHEN jsonb_typeof(purged.metadata) = 'object' THEN purged.metadata END) AS pair
		), unlisted AS (
			DELETE FROM task_metadata AS m USING pairs
			WHERE m.key = ANY(ARRAY[pairs.key]) AND m.value = ANY(ARRAY[pairs.value]) AND m.task_id = ANY(ARRAY[pairs.id])
		)
		SELECT uuid_send(id) FROM purged`)
)

// Purge deletes the tasks and moves the cursor. If the server refuses the statement
// because of one of them, as a table of the operator's refers to it, it is done again,
// task by task where it has to be.
func (r *PurgeRepository) Purge(ctx context.Context, s application.PurgeStep) (application.PurgeResult, error) {
	result, err := r.purge(ctx, s, deleteTogether)
	if pgconn.AboutData(err) {
		result, err = r.purge(ctx, s, deleteApart)
	}
	if err != nil {
		return application.PurgeResult{}, err
	}
	return result, nil
}

// deleting deletes tasks. What the server refuses it names in the result.
type deleting func(ctx context.Context, tx *sqlx.Tx, tasks []domain.PurgeCandidate, to *application.PurgeResult) error

func (r *PurgeRepository) purge(ctx context.Context, s application.PurgeStep, del deleting) (result application.PurgeResult, err error) {
	err = r.db.calls.Write(ctx, func(ctx context.Context, c *sqlx.Conn) error {
		result = application.PurgeResult{Refused: map[domain.TaskID]error{}}
		return pgconn.Transact(ctx, c, func(tx *sqlx.Tx) error {
			moved, err := moveCursor(ctx, tx, s)
			if err != nil || !moved {
				return err
			}
			result.Moved = true
			return del(ctx, tx, s.Expired, &result)
		})
	})
	return result, err
}

// moveCursor reports whether the walk had come to where the step begins. A walk without a
// row begins.
func moveCursor(ctx context.Context, tx *sqlx.Tx, s application.PurgeStep) (bool, error) {
	res, err := tx.ExecContext(ctx, moveCursorSQL, string(s.Walk), s.To.String(), s.From.String())
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

// deleteTogether deletes all with one statement.
func deleteTogether(ctx context.Context, tx *sqlx.Tx, tasks []domain.PurgeCandidate, to *application.PurgeResult) error {
	if len(tasks) == 0 {
		return nil
	}
	ids, versions := make([]domain.TaskID, len(tasks)), make([]int64, len(tasks))
	for i, t := range tasks {
		ids[i], versions[i] = t.ID, t.Version
	}
	purged := make([]domain.TaskID, 0, len(tasks))
	var id domain.TaskID
	scan := scanInto(&id, idOf)
	err := purgeSQL.Each(ctx, tx, func(row *sql.Rows) error {
		err := row.Scan(scan)
		purged = append(purged, id)
		return err
	}, pgenc.UUIDs(ids), pgenc.Int.Array(versions), pgenc.Texts(domain.EndedStatuses()))
	if err == nil {
		to.Purged = append(to.Purged, purged...)
	}
	return err
}

// deleteApart deletes the tasks in halves where it has to, so that one which the server
// refuses does not keep the others.
func deleteApart(ctx context.Context, tx *sqlx.Tx, tasks []domain.PurgeCandidate, to *application.PurgeResult) error {
	if _, err := tx.ExecContext(ctx, "SAVEPOINT part"); err != nil {
		return err
	}
	refused := deleteTogether(ctx, tx, tasks, to)
	if refused != nil && !pgconn.AboutData(refused) {
		return refused
	}
	if refused == nil {
		_, err := tx.ExecContext(ctx, "RELEASE SAVEPOINT part")
		return err
	}
	if _, err := tx.ExecContext(ctx, "ROLLBACK TO SAVEPOINT part; RELEASE SAVEPOINT part"); err != nil {
		return err
	}
	if len(tasks) == 1 {
		to.Refused[tasks[0].ID] = refused
		return nil
	}
	half := len(tasks) / 2
	if err := deleteApart(ctx, tx, tasks[:half], to); err != nil {
		return err
	}
	return deleteApart(ctx, tx, tasks[half:], to)
}
