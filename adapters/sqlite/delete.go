package sqlite

import (
	"context"
	"errors"
	"fmt"

	"github.com/millrace/millrace/domain"
)

// Delete removes t, and what is recorded of it, if the stored task is as t was loaded.
func (r *TaskRepository) Delete(ctx context.Context, t *domain.Task) error {
	return r.db.writeTogether(ctx, []*domain.Task{t}, func(tx *tx) error {
		gone, err := tx.remove(t)
		if err != nil || gone {
			return err
		}
		return tx.otherwise(t)
	})
}

// remove removes a task with the pairs that it is found by, and reports whether it was as
// it was loaded. Its attempts go with it, by the foreign key.
func (tx *tx) remove(t *domain.Task) (gone bool, err error) {
	id, loaded := taskID(t.ID()), t.Stored()
	removed, err := tx.count(deleteTask, id, t.StoredVersion(), loaded.Attempt, optional(loaded.Worker), loaded.Status)
	if err != nil || removed == 0 || len(loaded.Metadata) == 0 {
		return removed > 0, err
	}
	if err := tx.exec(deleteMetadata, id, pairs{of: loaded.Metadata}); err != nil {
		return false, fmt.Errorf("delete the metadata of task %s: %w", t.ID(), err)
	}
	return true, nil
}

// errLeftOut says that a trigger has left out a row without an error.
var errLeftOut = errors.New("left out by a trigger")

// removeLoaded removes a task that was loaded in this transaction, all of it or nothing.
func removeLoaded(within *tx, t *domain.Task) (changed bool, refused, err error) {
	c := &change{do: func(tx *tx) error {
		gone, err := tx.remove(t)
		changed = gone
		return err
	}}
	if err := within.apart(c); err != nil || c.err != nil {
		return false, nil, errors.Join(err, c.err)
	}
	if !changed {
		return false, errLeftOut, nil
	}
	return true, nil, nil
}
