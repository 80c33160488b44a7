package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/millrace/millrace/adapters/postgres/internal/pgconn"
	"github.com/millrace/millrace/adapters/postgres/internal/pgenc"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

var _ application.BulkRepository = (*BulkRepository)(nil)

// BulkRepository keeps actions on many tasks in the table bulks, and does them
// step by step. It is safe for concurrent use, by any number of processes.
type BulkRepository struct {
	db *DB
}

// NewBulkRepository makes a repository on db, whose schema Migrate has made.
func NewBulkRepository(db *DB) *BulkRepository { return &BulkRepository{db: db} }

// bulkRow is an action as PostgreSQL has it.
type bulkRow struct {
	ID        uuid.UUID `db:"id"`
	Action    string    `db:"action"`
	Filter    []byte    `db:"filter"`
	Cursor    uuid.UUID `db:"cursor"`
	Changed   int       `db:"changed"`
	Skipped   int       `db:"skipped"`
	CreatedAt instant   `db:"created_at"`
	UpdatedAt instant   `db:"updated_at"`
	DoneAt    instant   `db:"done_at"`
}

func (r bulkRow) bulk() (domain.Bulk, error) {
	f, err := application.DecodeFilter(r.Filter)
	if err == nil && !domain.TimesInRange(r.CreatedAt.Time, r.UpdatedAt.Time, r.DoneAt.Time) {
		err = errors.New("a time out of range")
	}
	if err != nil {
		return domain.Bulk{}, fmt.Errorf("read bulk action %s: %w", r.ID, err)
	}
	return domain.Bulk{
		ID: domain.BulkID(r.ID), Action: domain.BulkAction(r.Action), Filter: f, Cursor: domain.TaskID(r.Cursor),
		Changed: r.Changed, Skipped: r.Skipped,
		CreatedAt: r.CreatedAt.Time, UpdatedAt: r.UpdatedAt.Time, DoneAt: r.DoneAt.Time,
	}, nil
}

const bulkColumns = "id, action, filter, cursor, changed, skipped, created_at, updated_at, done_at"

// Add stores a new bulk action. A filter with a text that no task can have is
// domain.CodeInvalid.
func (r *BulkRepository) Add(ctx context.Context, b domain.Bulk) error {
	filter, err := application.EncodeFilter(b.Filter)
	if err != nil {
		return err
	}
	return r.db.calls.Write(ctx, func(ctx context.Context, c *sqlx.Conn) error {
		_, err := c.ExecContext(ctx, "INSERT INTO bulks ("+bulkColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
			b.ID.String(), string(b.Action), filter, b.Cursor.String(), b.Changed, b.Skipped,
			domain.Moment(b.CreatedAt), domain.Moment(b.UpdatedAt), orNull(b.DoneAt))
		return err
	})
}

// Get returns the action, or domain.ErrBulkNotFound.
func (r *BulkRepository) Get(ctx context.Context, id domain.BulkID) (domain.Bulk, error) {
	var found bulkRow
	if err := r.db.calls.Read(ctx, func(ctx context.Context, q sqlx.QueryerContext) error {
		err := sqlx.GetContext(ctx, q, &found, "SELECT "+bulkColumns+" FROM bulks WHERE id = $1", id.String())
		if errors.Is(err, sql.ErrNoRows) {
			return domain.ErrBulkNotFound
		}
		return err
	}); err != nil {
		return domain.Bulk{}, err
	}
	return found.bulk()
}

// Nearly always there is nothing to do, which anyBulkSQL finds out without a
// transaction.
const (
	bulkToDo    = " FROM bulks WHERE done_at IS NULL AND id <> ALL($1::uuid[])"
	anyBulkSQL  = "SELECT EXISTS (SELECT" + bulkToDo + ")"
	nextBulkSQL = "SELECT " + bulkColumns + bulkToDo + " ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED"

	bulkProgressSQL = `UPDATE bulks SET cursor = $2, changed = $3, skipped = $4, updated_at = $5, done_at = $6 WHERE id = $1`
)

// Step does the next tasks of an action.
func (r *BulkRepository) Step(ctx context.Context, s application.BulkStep) (application.BulkStepResult, error) {
	var found bool
	if err := r.db.calls.Read(ctx, func(ctx context.Context, q sqlx.QueryerContext) error {
		return sqlx.GetContext(ctx, q, &found, anyBulkSQL, bulkIDs(s.Except))
	}); err != nil || !found {
		return application.BulkStepResult{}, err
	}
	result, err := r.stepOnce(ctx, s, storeLocked)
	if pgconn.AboutData(err) { // one of the tasks is to blame
		result, err = r.stepOnce(ctx, s, storeApart)
	}
	if err != nil {
		return application.BulkStepResult{}, err
	}
	for _, t := range result.Changed {
		t.MarkStored()
	}
	return result, nil
}

func (r *BulkRepository) stepOnce(ctx context.Context, s application.BulkStep, store storing) (result application.BulkStepResult, err error) {
	err = r.db.calls.Write(ctx, func(ctx context.Context, c *sqlx.Conn) error {
		return pgconn.Transact(ctx, c, func(tx *sqlx.Tx) (err error) {
			result, err = step(ctx, tx, s, store)
			return err
		})
	})
	return result, err
}

func bulkIDs(ids []domain.BulkID) any {
	all := make([]domain.TaskID, len(ids))
	for i, id := range ids {
		all[i] = domain.TaskID(id)
	}
	return pgenc.UUIDs(all)
}

// step keeps the action's row locked, so that nobody else is at it.
func step(ctx context.Context, tx *sqlx.Tx, s application.BulkStep, store storing) (application.BulkStepResult, error) {
	result, err := nextBulk(ctx, tx, s)
	if err != nil || !result.Found {
		return result, err
	}
	b := result.Bulk
	q := application.TaskQuery{TaskFilter: b.Filter, Before: b.Cursor, Limit: s.Limit, Window: s.Window}
	hits, err := list(ctx, tx, q, "")
	if err != nil {
		return result, err
	}
	part := domain.BulkPart{Found: hits.ids(), End: hits.end(q)}
	part.Full = len(part.Found) == s.Limit
	if len(part.Found) > 0 {
		rows, err := lockMatches(ctx, tx, q, part.Found)
		if err != nil {
			return result, err
		}
		swept := decideAll(rows, func(t *domain.Task) error { return s.Decide(b, t) })
		if err := store(ctx, tx, &swept); err != nil {
			return result, err
		}
		result.Changed = swept.Changed
		part.Changed, part.Skipped = len(swept.Changed), swept.Found-len(swept.Changed)
	}
	b = b.Advance(part, s.Now)
	result.Bulk = b
	_, err = tx.ExecContext(ctx, bulkProgressSQL, b.ID.String(), b.Cursor.String(), b.Changed, b.Skipped, b.UpdatedAt, orNull(b.DoneAt))
	return result, err
}

// nextBulk locks the oldest action that can be read; none, if others are at all that
// there is to do.
func nextBulk(ctx context.Context, tx *sqlx.Tx, s application.BulkStep) (application.BulkStepResult, error) {
	result := application.BulkStepResult{Passed: map[domain.BulkID]error{}}
	except := slices.Clone(s.Except)
	for {
		var next bulkRow
		if err := tx.GetContext(ctx, &next, nextBulkSQL, bulkIDs(except)); errors.Is(err, sql.ErrNoRows) {
			return result, nil
		} else if err != nil {
			return result, err
		}
		b, err := next.bulk()
		if err == nil {
			result.Bulk, result.Found = b, true
			return result, nil
		}
		except = append(except, domain.BulkID(next.ID))
		result.Passed[domain.BulkID(next.ID)] = err
	}
}

// lockMatches locks those of the tasks that still match when whoever is changing
// them is done, in the order of their ids, as everybody does.
func lockMatches(ctx context.Context, tx *sqlx.Tx, q application.TaskQuery, ids []domain.TaskID) ([]row, error) {
	query, args := lockMatchesSQL(q, ids)
	var rows []row
	err := tx.SelectContext(ctx, &rows, query, args...)
	return rows, err
}

func lockMatchesSQL(q application.TaskQuery, ids []domain.TaskID) (query string, args []any) {
	s, _ := searchOf(q) // which has found ids
	var p pgenc.Params
	return "SELECT " + selectColumns + " FROM tasks AS t WHERE t.id = ANY(" + p.Add(pgenc.UUIDs(ids), "uuid[]") + ") AND " +
		matchesSQL(s.TaskFilter, &p) + " ORDER BY t.id FOR UPDATE OF t", p
}
