package sqlite

import (
	"context"

	"github.com/google/uuid"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// AddOnce stores a new action and its key, or returns the action that was stored with
// it before.
func (r *BulkRepository) AddOnce(ctx context.Context, k application.IdempotencyKey, b domain.Bulk) (first *domain.Bulk, err error) {
	row, err := bulkRowOf(b)
	if err != nil {
		return nil, err
	}
	err = r.db.write(ctx, func(tx *tx) error {
		first = nil
		ids, found, err := tx.remembered(k, 1)
		switch {
		case err != nil:
			return err
		case found:
			stored, err := tx.bulk(domain.BulkID(ids))
			if err == domain.ErrBulkNotFound { //nolint:errorlint // it is not wrapped
				return domain.BulkGone(domain.BulkID(ids))
			}
			first = &stored
			return err
		}
		if _, err := tx.execRow(insertBulk, row); err != nil {
			return err
		}
		return tx.remember(k, b.ID[:])
	})
	if err != nil {
		return nil, err
	}
	return first, nil
}

// bulk reads an action.
func (tx *tx) bulk(id domain.BulkID) (domain.Bulk, error) {
	var row bulkRow
	found, err := tx.get(&row, selectBulk, taskID(id))
	switch {
	case err != nil:
		return domain.Bulk{}, err
	case !found:
		return domain.Bulk{}, domain.ErrBulkNotFound
	}
	return row.bulk()
}

// List returns actions, the latest first.
func (r *BulkRepository) List(ctx context.Context, q application.BulkQuery) (application.BulkList, error) {
	before := taskID(q.Before)
	if q.Before == (domain.BulkID{}) {
		before = taskID(uuid.Max)
	}
	var rows []bulkRow
	if err := r.db.read(ctx, &rows, selectBulks, before, q.Limit); err != nil {
		return application.BulkList{}, err
	}
	var list application.BulkList
	for _, row := range rows {
		if b, err := row.bulk(); err == nil {
			list.Bulks = append(list.Bulks, b)
		} else {
			list.Omitted = append(list.Omitted, domain.BulkID(row.ID))
		}
	}
	return list, nil
}

// Change stores what decide says of the action.
func (r *BulkRepository) Change(ctx context.Context, id domain.BulkID, decide func(b domain.Bulk) (domain.Bulk, error)) (b domain.Bulk, err error) {
	err = r.db.write(ctx, func(tx *tx) error {
		if b, err = tx.bulk(id); err != nil {
			return err
		}
		if b, err = decide(b); err != nil {
			return err
		}
		row, err := bulkRowOf(b)
		if err != nil {
			return err
		}
		_, err = tx.execRow(updateBulk, row)
		return err
	})
	if err != nil {
		return domain.Bulk{}, err
	}
	return b, nil
}
