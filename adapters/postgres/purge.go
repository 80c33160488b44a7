package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
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

	// purgeSQL deletes those of the tasks ($1) that have ended ($4), still have their version
	// ($2) and status ($3), and that nobody has locked. It waits Briefly for the rows that go
	// with them. With = in place of ANY the joins could be planned over whole tables.
	purgeSQL = pgconn.Prepared(`WITH expired AS MATERIALIZED (
			SELECT t.id FROM unnest((SELECT $1::uuid[]), (SELECT $2::bigint[]), (SELECT $3::text[])) AS n(id, version, status), tasks AS t
			WHERE t.id = ANY(ARRAY[n.id]) AND t.version = n.version AND t.status = n.status AND t.status = ANY($4::text[])
				AND ` + pgconn.Briefly + `
			FOR UPDATE OF t SKIP LOCKED
		), gone AS (
			DELETE FROM tasks AS t USING expired WHERE t.id = ANY(ARRAY[expired.id]) RETURNING t.id, t.metadata
		), ` + pairsOfGone + `
		SELECT uuid_send(id) FROM gone`)
)

// Purge deletes the tasks and moves the cursor. If one of them keeps the statement from
// being done, as a table of the operator's refers to it, or somebody has locked a row that
// goes with it, it is done again, task by task where it has to be.
func (r *PurgeRepository) Purge(ctx context.Context, s application.PurgeStep) (application.PurgeResult, error) {
	result, err := r.purge(ctx, s, purging.together)
	if aboutOne(err) {
		result, err = r.purge(ctx, s, purging.apart)
	}
	if err != nil {
		return application.PurgeResult{}, err
	}
	return result, nil
}

func (r *PurgeRepository) purge(ctx context.Context, s application.PurgeStep,
	del func(purging, context.Context, []domain.PurgeCandidate) error,
) (result application.PurgeResult, err error) {
	err = r.db.calls.Write(ctx, func(ctx context.Context, c *sqlx.Conn) error {
		result = application.PurgeResult{Refused: map[domain.TaskID]error{}}
		return pgconn.Transact(ctx, c, func(tx *sqlx.Tx) error {
			moved, err := moveCursor(ctx, tx, s)
			if err != nil || !moved {
				return err
			}
			result.Moved = true
			return del(purging{r.db.calls, tx, time.Now(), &result}, ctx, s.Expired)
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

// purging deletes tasks in a transaction, and says in the result which.
type purging struct {
	pool  pool
	tx    *sqlx.Tx
	begun time.Time
	to    *application.PurgeResult
}

// together deletes all with one statement.
func (p purging) together(ctx context.Context, tasks []domain.PurgeCandidate) error {
	if len(tasks) == 0 {
		return nil
	}
	ids, versions, statuses := make([]domain.TaskID, len(tasks)), make([]int64, len(tasks)), make([]domain.Status, len(tasks))
	for i, t := range tasks {
		ids[i], versions[i], statuses[i] = t.ID, t.Version, t.Status
	}
	purged := make([]domain.TaskID, 0, len(tasks))
	var id domain.TaskID
	scan, begun := scanInto(&id, idOf), time.Now()
	err := purgeSQL.Each(ctx, p.tx, func(row *sql.Rows) error {
		err := row.Scan(scan)
		purged = append(purged, id)
		return err
	}, pgenc.UUIDs(ids), pgenc.Int.Array(versions), pgenc.Texts(statuses), pgenc.Texts(domain.EndedStatuses()))
	if p.pool.RowLocked(err, begun) {
		return fmt.Errorf("%w: %w", errRowsLocked, err)
	}
	if err == nil {
		p.to.Purged = append(p.to.Purged, purged...)
	}
	return err
}

// apartFor is how long tasks of which rows are locked are looked for. What is left then,
// as somebody has locked the whole of attempts, is left to the next round.
const apartFor = 2 * time.Second

// apart deletes the tasks in halves where it has to, so that one which cannot be deleted
// does not keep the others. One that the server refuses it names.
func (p purging) apart(ctx context.Context, tasks []domain.PurgeCandidate) error {
	if _, err := p.tx.ExecContext(ctx, "SAVEPOINT part"); err != nil {
		return err
	}
	kept := p.together(ctx, tasks)
	if kept != nil && !aboutOne(kept) {
		return kept
	}
	if kept == nil {
		_, err := p.tx.ExecContext(ctx, "RELEASE SAVEPOINT part")
		return err
	}
	if _, err := p.tx.ExecContext(ctx, "ROLLBACK TO SAVEPOINT part; RELEASE SAVEPOINT part"); err != nil {
		return err
	}
	locked := errors.Is(kept, errRowsLocked)
	switch {
	case locked && (len(tasks) == 1 || time.Since(p.begun) > apartFor):
		return nil
	case len(tasks) == 1:
		p.to.Refused[tasks[0].ID] = kept
		return nil
	}
	half := len(tasks) / 2
	if err := p.apart(ctx, tasks[:half]); err != nil {
		return err
	}
	return p.apart(ctx, tasks[half:])
}
