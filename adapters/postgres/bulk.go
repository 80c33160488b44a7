package postgres

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
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
	ID        uuid.UUID    `db:"id"`
	Action    string       `db:"action"`
	Filter    []byte       `db:"filter"`
	Cursor    uuid.UUID    `db:"cursor"`
	Changed   int          `db:"changed"`
	Skipped   int          `db:"skipped"`
	CreatedAt time.Time    `db:"created_at"`
	UpdatedAt time.Time    `db:"updated_at"`
	DoneAt    sql.NullTime `db:"done_at"`
}

func (r bulkRow) bulk() (application.Bulk, error) {
	f, err := filterOf(r.Filter)
	if err != nil {
		return application.Bulk{}, fmt.Errorf("filter of bulk action %s: %w", r.ID, err)
	}
	return application.Bulk{
		ID: application.BulkID(r.ID), Action: application.BulkAction(r.Action), Filter: f, Cursor: domain.TaskID(r.Cursor),
		Changed: r.Changed, Skipped: r.Skipped,
		CreatedAt: r.CreatedAt.UTC(), UpdatedAt: r.UpdatedAt.UTC(), DoneAt: orZero(r.DoneAt),
	}, nil
}

// filterJSON is how a filter is stored.
type filterJSON struct {
	Statuses       []domain.Status    `json:"statuses,omitempty"`
	Queues         []domain.QueueName `json:"queues,omitempty"`
	CreatedFrom    time.Time          `json:"created_from,omitzero"`
	CreatedBefore  time.Time          `json:"created_before,omitzero"`
	FinishedFrom   time.Time          `json:"finished_from,omitzero"`
	FinishedBefore time.Time          `json:"finished_before,omitzero"`
	Metadata       map[string]string  `json:"metadata,omitempty"`
	Text           string             `json:"text,omitempty"`
}

// filterText refuses what JSON cannot say: it would come back as another filter.
func filterText(f application.TaskFilter) (string, error) {
	if err := domain.TaskFilter(f).Check(); err != nil {
		return "", err
	}
	text, err := json.Marshal(filterJSON(f))
	return string(text), err
}

// filterOf refuses what it does not understand: without it the action would be
// about other tasks.
func filterOf(text []byte) (application.TaskFilter, error) {
	var f filterJSON
	decode := json.NewDecoder(bytes.NewReader(text))
	decode.DisallowUnknownFields()
	err := decode.Decode(&f)
	return application.TaskFilter(f), err
}

const bulkColumns = "id, action, filter, cursor, changed, skipped, created_at, updated_at, done_at"

// Add stores a new bulk action. A filter with a text that no task can have is
// domain.CodeInvalid.
func (r *BulkRepository) Add(ctx context.Context, b application.Bulk) error {
	filter, err := filterText(b.Filter)
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
func (r *BulkRepository) Get(ctx context.Context, id application.BulkID) (application.Bulk, error) {
	var found bulkRow
	if err := r.db.calls.Read(ctx, func(ctx context.Context, q sqlx.QueryerContext) error {
		err := sqlx.GetContext(ctx, q, &found, "SELECT "+bulkColumns+" FROM bulks WHERE id = $1", id.String())
		if errors.Is(err, sql.ErrNoRows) {
			return domain.ErrBulkNotFound
		}
		return err
	}); err != nil {
		return application.Bulk{}, err
	}
	return found.bulk()
}

// Nearly always there is nothing to do, which anyBulkSQL finds out without a
// transaction.
const (
	bulkToDo    = " FROM bulks WHERE done_at IS NULL"
	anyBulkSQL  = "SELECT EXISTS (SELECT" + bulkToDo + ")"
	nextBulkSQL = "SELECT " + bulkColumns + bulkToDo + " ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED"

	bulkProgressSQL = `UPDATE bulks SET cursor = $2, changed = $3, skipped = $4, updated_at = $5, done_at = $6 WHERE id = $1`
)

// Step does the next tasks of an action.
func (r *BulkRepository) Step(ctx context.Context, s application.BulkStep) (b application.Bulk, changed []*domain.Task, found bool, err error) {
	if err := r.db.calls.Read(ctx, func(ctx context.Context, q sqlx.QueryerContext) error {
		return sqlx.GetContext(ctx, q, &found, anyBulkSQL)
	}); err != nil || !found {
		return application.Bulk{}, nil, false, err
	}
	if err := r.db.calls.Write(ctx, func(ctx context.Context, c *sqlx.Conn) error {
		return pgconn.Transact(ctx, c, func(tx *sqlx.Tx) error {
			b, changed, found, err = step(ctx, tx, s)
			return err
		})
	}); err != nil {
		return application.Bulk{}, nil, false, err
	}
	for _, t := range changed {
		t.MarkStored()
	}
	return b, changed, found, nil
}

// step keeps the action's row locked, so that nobody else is at it.
func step(ctx context.Context, tx *sqlx.Tx, s application.BulkStep) (b application.Bulk, changed []*domain.Task, found bool, err error) {
	var next bulkRow
	if err := tx.GetContext(ctx, &next, nextBulkSQL); errors.Is(err, sql.ErrNoRows) {
		return b, nil, false, nil // others are at all that there is to do
	} else if err != nil {
		return b, nil, false, err
	}
	if b, err = next.bulk(); err != nil {
		return b, nil, false, err
	}
	if b.UpdatedAt.Before(s.Now) {
		b.UpdatedAt = domain.Moment(s.Now)
	}

	q := application.TaskQuery{TaskFilter: b.Filter, Before: b.Cursor, Limit: s.Limit, Window: s.Window}
	hits, err := list(ctx, tx, q, "")
	if err != nil {
		return b, nil, false, err
	}
	ids, end := hits.ids(), hits.end(q)
	switch {
	case len(ids) == s.Limit:
		b.Cursor = ids[len(ids)-1]
	case end != (domain.TaskID{}):
		b.Cursor = end
	default:
		b.DoneAt = b.UpdatedAt
	}
	if len(ids) > 0 {
		rows, err := lockMatches(ctx, tx, q, ids)
		if err != nil {
			return b, nil, false, err
		}
		swept := decideAll(rows, func(t *domain.Task) error { return s.Decide(b, t) })
		if err := storeLocked(ctx, tx, swept.Changed); err != nil {
			return b, nil, false, err
		}
		changed = swept.Changed
		b.Changed += len(changed)
		b.Skipped += swept.Found - len(changed)
	}
	_, err = tx.ExecContext(ctx, bulkProgressSQL, b.ID.String(), b.Cursor.String(), b.Changed, b.Skipped, b.UpdatedAt, orNull(b.DoneAt))
	return b, changed, true, err
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
