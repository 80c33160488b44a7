package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
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
	ID        uuid.UUID `db:"id"`
	Action    string    `db:"action"`
	Filter    []byte    `db:"filter"`
	Cursor    uuid.UUID `db:"cursor"`
	Changed   int       `db:"changed"`
	Skipped   int       `db:"skipped"`
	CreatedAt instant   `db:"created_at"`
	UpdatedAt instant   `db:"updated_at"`
	DoneAt    instant   `db:"done_at"`
	Locked    idList    `db:"locked"`
	Window    int       `db:"search_window"`
	Tries     int       `db:"tries"`
	Outcome   string    `db:"outcome"`
	Reason    string    `db:"reason"`
}

func (r bulkRow) bulk() (domain.Bulk, error) {
	f, err := application.DecodeFilter(r.Filter)
	if err != nil {
		return domain.Bulk{}, fmt.Errorf("%w: %w", domain.BulkID(r.ID).Damaged("an unreadable filter"), err)
	}
	if err := r.Locked.damage; err != nil {
		return domain.Bulk{}, fmt.Errorf("%w: %w", domain.BulkID(r.ID).Damaged("unreadable ids of locked tasks"), err)
	}
	b := domain.Bulk{
		Locked: r.Locked.ids, Window: r.Window, Tries: r.Tries,
		Ended: domain.BulkOutcome(r.Outcome), Reason: r.Reason,
		ID: domain.BulkID(r.ID), Action: domain.BulkAction(r.Action), Filter: f, Cursor: domain.TaskID(r.Cursor),
		Changed: r.Changed, Skipped: r.Skipped,
		CreatedAt: r.CreatedAt.Time, UpdatedAt: r.UpdatedAt.Time, DoneAt: r.DoneAt.Time,
	}
	if err := b.Readable(); err != nil {
		return domain.Bulk{}, err
	}
	return b, nil
}

const bulkColumns = "id, action, filter, cursor, changed, skipped, created_at, updated_at, done_at, " +
	"locked, search_window, tries, outcome, reason"

// Add stores a new bulk action. A filter with a text that no task can have is
// domain.CodeInvalid.
func (r *BulkRepository) Add(ctx context.Context, b domain.Bulk) error {
	return r.db.calls.Write(ctx, func(ctx context.Context, c *sqlx.Conn) error { return insertBulk(ctx, c, b) })
}

func insertBulk(ctx context.Context, x sqlx.ExecerContext, b domain.Bulk) error {
	filter, err := application.EncodeFilter(b.Filter)
	if err != nil {
		return err
	}
	_, err = x.ExecContext(ctx, "INSERT INTO bulks ("+bulkColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
		b.ID.String(), string(b.Action), filter, b.Cursor.String(), b.Changed, b.Skipped,
		domain.Moment(b.CreatedAt), domain.Moment(b.UpdatedAt), orNull(b.DoneAt),
		pgenc.UUIDs(b.Locked), b.Window, b.Tries, string(b.Ended), b.Reason)
	return err
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

	bulkProgressSQL = `UPDATE bulks SET cursor = $2, changed = $3, skipped = $4, updated_at = $5, done_at = $6,
		locked = $7, search_window = $8, tries = $9, outcome = $10, reason = $11 WHERE id = $1`
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
	if errors.Is(err, errSearchTooLong) {
		looked := s.WindowOf(result.Bulk)
		b, err := r.Change(ctx, result.Bulk.ID, func(b domain.Bulk) (domain.Bulk, error) { return b.Shrink(looked, s.Now), nil })
		return application.BulkStepResult{Found: true, Bulk: b, Passed: result.Passed}, err
	}
	if pgconn.AboutData(err) { // one of the tasks is to blame
		result, err = r.stepOnce(ctx, s, storeApart)
	}
	if pgconn.AboutData(err) && result.Found { // it is the action's own row
		result.Passed[result.Bulk.ID], result.Changed = err, nil
		return result, nil
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
	part, q, err := searchPart(ctx, tx, b, s)
	if err != nil {
		return result, err
	}
	if ids := slices.Concat(b.Locked, part.Found); len(ids) > 0 {
		rows, locked, err := lockMatches(ctx, tx, q, ids)
		if err != nil {
			return result, err
		}
		swept := decideAll(rows, func(t *domain.Task) error { return s.Decide(b, t) })
		if err := store(ctx, tx, &swept); err != nil {
			return result, err
		}
		result.Changed, part.Locked = swept.Changed, locked
		part.Changed, part.Skipped = len(swept.Changed), swept.Found-len(swept.Changed)
	}
	result.Bulk = b.Advance(part, s.Now)
	return result, storeBulk(ctx, tx, result.Bulk)
}

func storeBulk(ctx context.Context, tx *sqlx.Tx, b domain.Bulk) error {
	_, err := tx.ExecContext(ctx, bulkProgressSQL, b.ID.String(), b.Cursor.String(), b.Changed, b.Skipped, b.UpdatedAt, orNull(b.DoneAt),
		pgenc.UUIDs(b.Locked), b.Window, b.Tries, string(b.Ended), b.Reason)
	return err
}

// errSearchTooLong says that the server has given up the search of a step.
var errSearchTooLong = errors.New("the search took too long")

// searchPart finds what matches next. The server gives the search up before the
// connection does, and so does not go on with it. Only the search has such a limit:
// it would cut off the wait for a synchronous standby, too.
func searchPart(ctx context.Context, tx *sqlx.Tx, b domain.Bulk, s application.BulkStep) (domain.BulkPart, application.TaskQuery, error) {
	q := application.TaskQuery{TaskFilter: b.Filter, Before: b.Cursor, Limit: s.Limit - len(b.Locked), Window: s.WindowOf(b)}
	if q.Limit < 1 { // those that are locked are enough to remember
		return domain.BulkPart{End: b.Cursor}, q, nil
	}
	if _, err := tx.ExecContext(ctx, "SET LOCAL statement_timeout = "+searchLimit); err != nil {
		return domain.BulkPart{}, q, err
	}
	begun := time.Now()
	hits, err := list(ctx, tx, q, "")
	if pgconn.Canceled(err) {
		return domain.BulkPart{}, q, errSearchTooLong
	} else if err != nil {
		return domain.BulkPart{}, q, err
	}
	part := domain.BulkPart{Found: hits.ids(), End: hits.end(q), Took: time.Since(begun)}
	part.Full = len(part.Found) == q.Limit
	_, err = tx.ExecContext(ctx, "SET LOCAL statement_timeout = 0")
	return part, q, err
}

// searchLimit bounds the search of a step, in milliseconds: less than any call timeout
// that is not too short to work with.
const searchLimit = "2500"

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

// lockMatches locks those of the tasks that match and that nobody else has locked, and
// returns the ids of those that match and are locked.
func lockMatches(ctx context.Context, tx *sqlx.Tx, q application.TaskQuery, ids []domain.TaskID) ([]row, []domain.TaskID, error) {
	query, args := lockMatchesSQL(q, ids)
	var rows []row
	if err := tx.SelectContext(ctx, &rows, query, args...); err != nil {
		return nil, nil, err
	}
	got := make([]domain.TaskID, len(rows))
	for i := range rows {
		got[i] = domain.TaskID(rows[i].ID)
	}
	missing := notIn(got, ids)
	if len(missing) == 0 {
		return rows, nil, nil
	}
	query, args = matchesOfSQL("t.id", q, missing)
	var found []uuid.UUID
	if err := tx.SelectContext(ctx, &found, query, args...); err != nil {
		return nil, nil, err
	}
	locked := make([]domain.TaskID, len(found))
	for i, id := range found {
		locked[i] = domain.TaskID(id)
	}
	return rows, locked, nil
}

func lockMatchesSQL(q application.TaskQuery, ids []domain.TaskID) (query string, args []any) {
	query, args = matchesOfSQL(decidingColumns, q, ids)
	return query + " FOR UPDATE OF t SKIP LOCKED", args
}

func matchesOfSQL(columns string, q application.TaskQuery, ids []domain.TaskID) (query string, args []any) {
	q.Before = domain.TaskID{}
	s, ok := searchOf(q)
	if !ok { // nothing can match any more
		s = &search{TaskQuery: q}
	}
	var p pgenc.Params
	return "SELECT " + columns + " FROM tasks AS t WHERE t.id = ANY(" + p.Add(pgenc.UUIDs(ids), "uuid[]") + ") AND " +
		matchesSQL(s.TaskFilter, &p) + " ORDER BY t.id", p
}
