package sqlite

import (
	"context"
	"fmt"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

var _ application.BulkRepository = (*BulkRepository)(nil)

// BulkRepository is the record of the actions on many tasks, in a file.
type BulkRepository struct{ db *DB }

// NewBulkRepository makes the repository of an open and migrated file.
func NewBulkRepository(db *DB) *BulkRepository { return &BulkRepository{db: db} }

// bulkRow is a row of bulks.
type bulkRow struct {
	ID      taskID             `db:"id"`
	Action  domain.BulkAction  `db:"action"`
	Filter  string             `db:"filter"`
	Cursor  taskID             `db:"cursor"`
	Changed int                `db:"changed"`
	Skipped int                `db:"skipped"`
	Created instant            `db:"created_at"`
	Updated instant            `db:"updated_at"`
	Done    instant            `db:"done_at"`
	Window  int                `db:"search_window"`
	Tries   int                `db:"tries"`
	Outcome domain.BulkOutcome `db:"outcome"`
	Reason  string             `db:"reason"`
}

// bulkColumns are the columns of a bulkRow.
const bulkColumns = `id, action, filter, cursor, changed, skipped, created_at, updated_at, done_at,
	search_window, tries, outcome, reason`

func bulkRowOf(b domain.Bulk) (bulkRow, error) {
	filter, err := application.EncodeFilter(b.Filter)
	return bulkRow{
		ID: taskID(b.ID), Action: b.Action, Filter: filter, Cursor: taskID(b.Cursor), Changed: b.Changed, Skipped: b.Skipped,
		Created: instant{b.CreatedAt}, Updated: instant{b.UpdatedAt}, Done: instant{b.DoneAt},
		Window: b.Window, Tries: b.Tries, Outcome: b.Ended, Reason: b.Reason,
	}, err
}

// bulk makes the action again.
func (row bulkRow) bulk() (domain.Bulk, error) {
	filter, err := application.DecodeFilter([]byte(row.Filter))
	if err != nil {
		return domain.Bulk{}, fmt.Errorf("%w: %w", domain.BulkID(row.ID).Damaged("an unreadable filter"), err)
	}
	b := domain.Bulk{
		ID: domain.BulkID(row.ID), Action: row.Action, Filter: filter, Cursor: domain.TaskID(row.Cursor),
		Changed: row.Changed, Skipped: row.Skipped, CreatedAt: row.Created.Time, UpdatedAt: row.Updated.Time, DoneAt: row.Done.Time,
		Window: row.Window, Tries: row.Tries, Ended: row.Outcome, Reason: row.Reason,
	}
	if err := b.Readable(); err != nil {
		return domain.Bulk{}, err
	}
	return b, nil
}

// Add stores a new bulk action.
func (r *BulkRepository) Add(ctx context.Context, b domain.Bulk) error {
	row, err := bulkRowOf(b)
	if err != nil {
		return err
	}
	return r.db.write(ctx, func(tx *tx) error {
		_, err := tx.execRow(insertBulk, row)
		return err
	})
}

// Get returns it, or domain.ErrBulkNotFound.
func (r *BulkRepository) Get(ctx context.Context, id domain.BulkID) (domain.Bulk, error) {
	var rows []bulkRow
	if err := r.db.read(ctx, &rows, selectBulk, taskID(id)); err != nil {
		return domain.Bulk{}, err
	}
	if len(rows) == 0 {
		return domain.Bulk{}, domain.ErrBulkNotFound
	}
	return rows[0].bulk()
}

// Step goes on with the oldest action that is not done.
func (r *BulkRepository) Step(ctx context.Context, s application.BulkStep) (application.BulkStepResult, error) {
	var result application.BulkStepResult
	err := r.db.write(ctx, func(tx *tx) (err error) {
		if result, err = tx.nextBulk(s); err != nil || !result.Found {
			return err
		}
		part, err := tx.advance(&result, s)
		if err != nil {
			return err
		}
		result.Bulk = result.Bulk.Advance(part, s.Now)
		row, err := bulkRowOf(result.Bulk)
		if err != nil {
			return err
		}
		_, err = tx.execRow(updateBulk, row)
		return err
	})
	if aboutData(err) && result.Found { // it is the action's own row: of the tasks each is tried alone
		result.Passed[result.Bulk.ID], result.Changed = err, nil
		return result, nil
	}
	if err != nil {
		return application.BulkStepResult{}, err
	}
	markStored(result.Changed)
	return result, nil
}

// nextBulk finds the oldest action that can be read.
func (tx *tx) nextBulk(s application.BulkStep) (application.BulkStepResult, error) {
	result := application.BulkStepResult{Passed: map[domain.BulkID]error{}}
	except := make([]domain.TaskID, 0, len(s.Except))
	for _, id := range s.Except {
		except = append(except, domain.TaskID(id))
	}
	for {
		list, err := listOf(except)
		if err != nil {
			return result, err
		}
		var row bulkRow
		if found, err := tx.get(&row, selectNextBulk, list); err != nil || !found {
			return result, err
		}
		b, err := row.bulk()
		if err == nil {
			result.Bulk, result.Found = b, true
			return result, nil
		}
		except = append(except, domain.TaskID(row.ID))
		result.Passed[domain.BulkID(row.ID)] = err
	}
}

// advance does to the next tasks what the action says.
func (tx *tx) advance(result *application.BulkStepResult, s application.BulkStep) (domain.BulkPart, error) {
	b, begun := result.Bulk, time.Now()
	rows, end, _, err := find(tx.ctx, tx.sql, decidingColumns, application.TaskQuery{
		TaskFilter: b.Filter, Before: b.Cursor, Limit: s.Limit, Window: s.WindowOf(b),
	})
	if err != nil {
		return domain.BulkPart{}, err
	}
	part := domain.BulkPart{Full: len(rows) == s.Limit, End: end, Took: time.Since(begun)}
	for _, row := range rows {
		part.Found = append(part.Found, domain.TaskID(row.ID))
		t, err := row.withoutTexts()
		if err != nil { // it must not keep the rest from being changed
			part.Skipped++
			continue
		}
		changed, _, err := tx.decide(t, func(t *domain.Task) error { return s.Decide(b, t) })
		switch {
		case aboutData(err):
			part.Skipped++
		case err != nil:
			return part, err
		case changed:
			part.Changed++
			result.Changed = append(result.Changed, t)
		default:
			part.Skipped++
		}
	}
	return part, nil
}
