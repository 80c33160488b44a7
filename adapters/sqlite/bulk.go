package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
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
	ID      taskID                 `db:"id"`
	Action  application.BulkAction `db:"action"`
	Filter  string                 `db:"filter"`
	Cursor  taskID                 `db:"cursor"`
	Changed int                    `db:"changed"`
	Skipped int                    `db:"skipped"`
	Created instant                `db:"created_at"`
	Updated instant                `db:"updated_at"`
	Done    instant                `db:"done_at"`
}

// bulkColumns are the columns of a bulkRow.
const bulkColumns = `id, action, filter, cursor, changed, skipped, created_at, updated_at, done_at`

// storedFilter is a filter as the file has it.
type storedFilter struct {
	Statuses       []domain.Status    `json:"statuses,omitempty"`
	Queues         []domain.QueueName `json:"queues,omitempty"`
	CreatedFrom    time.Time          `json:"created_from,omitzero"`
	CreatedBefore  time.Time          `json:"created_before,omitzero"`
	FinishedFrom   time.Time          `json:"finished_from,omitzero"`
	FinishedBefore time.Time          `json:"finished_before,omitzero"`
	Metadata       map[string]string  `json:"metadata,omitempty"`
	Text           string             `json:"text,omitempty"`
}

func bulkRowOf(b application.Bulk) (bulkRow, error) {
	filter, err := toJSON(storedFilter(b.Filter))
	return bulkRow{
		ID: taskID(b.ID), Action: b.Action, Filter: filter, Cursor: taskID(b.Cursor), Changed: b.Changed, Skipped: b.Skipped,
		Created: instant{b.CreatedAt}, Updated: instant{b.UpdatedAt}, Done: instant{b.DoneAt},
	}, err
}

// bulk makes the action again. A part of the filter that is not understood is an
// error: without it the action would be about other tasks.
func (row bulkRow) bulk() (application.Bulk, error) {
	var filter storedFilter
	decode := json.NewDecoder(strings.NewReader(row.Filter))
	decode.DisallowUnknownFields()
	if err := decode.Decode(&filter); err != nil {
		return application.Bulk{}, fmt.Errorf("read the filter of bulk action %s: %w", application.BulkID(row.ID), err)
	}
	return application.Bulk{
		ID: application.BulkID(row.ID), Action: row.Action, Filter: application.TaskFilter(filter), Cursor: domain.TaskID(row.Cursor),
		Changed: row.Changed, Skipped: row.Skipped, CreatedAt: row.Created.Time, UpdatedAt: row.Updated.Time, DoneAt: row.Done.Time,
	}, nil
}

// Add stores a new bulk action.
func (r *BulkRepository) Add(ctx context.Context, b application.Bulk) error {
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
func (r *BulkRepository) Get(ctx context.Context, id application.BulkID) (application.Bulk, error) {
	var rows []bulkRow
	if err := r.db.read(ctx, &rows, selectBulk, taskID(id)); err != nil {
		return application.Bulk{}, err
	}
	if len(rows) == 0 {
		return application.Bulk{}, domain.ErrBulkNotFound
	}
	return rows[0].bulk()
}

// Step goes on with the oldest action that is not done.
func (r *BulkRepository) Step(ctx context.Context, s application.BulkStep) (b application.Bulk, changed []*domain.Task, found bool, err error) {
	err = r.db.write(ctx, func(tx *tx) error {
		var row bulkRow
		if found, err = tx.get(&row, selectNextBulk); err != nil || !found {
			return err
		}
		if b, err = row.bulk(); err != nil {
			return err
		}
		if changed, err = tx.advance(&b, s); err != nil {
			return err
		}
		if row, err = bulkRowOf(b); err != nil {
			return err
		}
		_, err = tx.execRow(updateBulk, row)
		return err
	})
	if err != nil {
		return application.Bulk{}, nil, false, err
	}
	markStored(changed)
	return b, changed, found, nil
}

// advance does to the next tasks what the action says, and notes how far it is.
func (tx *tx) advance(b *application.Bulk, s application.BulkStep) ([]*domain.Task, error) {
	rows, end, err := find(tx.ctx, tx.sql, application.TaskQuery{
		TaskFilter: b.Filter, Before: b.Cursor, Limit: s.Limit, Window: s.Window,
	})
	if err != nil {
		return nil, err
	}
	before := *b
	var changed []*domain.Task
	for _, row := range rows {
		t, err := row.task()
		if err != nil { // it must not keep the rest from being changed
			b.Skipped++
			continue
		}
		did, _, err := tx.decide(t, func(t *domain.Task) error { return s.Decide(before, t) })
		if err != nil {
			return nil, err
		}
		if !did {
			b.Skipped++
			continue
		}
		b.Changed++
		changed = append(changed, t)
	}
	if s.Now.After(b.UpdatedAt) {
		b.UpdatedAt = domain.Moment(s.Now)
	}
	switch {
	case len(rows) == s.Limit:
		b.Cursor = domain.TaskID(rows[len(rows)-1].ID)
	case end != domain.TaskID{}:
		b.Cursor = end
	default:
		b.DoneAt = b.UpdatedAt
	}
	return changed, nil
}
