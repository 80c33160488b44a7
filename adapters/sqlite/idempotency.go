package sqlite

import (
	"bytes"
	"context"
	"fmt"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// keyRow is a row of idempotency_keys.
type keyRow struct {
	Owner       string  `db:"owner"`
	Key         string  `db:"key"`
	Fingerprint []byte  `db:"fingerprint"`
	TaskIDs     []byte  `db:"task_ids"` // 16 bytes each
	Expires     instant `db:"expires_at"`
}

// AddOnce stores new tasks and their key, or returns the tasks that were stored
// with it before. A twin that is under way has its turn to write, and is waited for.
func (r *TaskRepository) AddOnce(ctx context.Context, k application.IdempotencyKey, tasks ...*domain.Task) ([]*domain.Task, error) {
	var first []*domain.Task
	err := r.db.writeTogether(ctx, tasks, func(tx *tx) error {
		var known keyRow
		found, err := tx.get(&known, selectKey, k.Owner, k.Key, instant{k.Now})
		switch {
		case err != nil:
			return err
		case found && !bytes.Equal(known.Fingerprint, k.Fingerprint[:]):
			return domain.ErrKeyReused
		case found && len(known.TaskIDs) != len(tasks)*len(taskID{}): // somebody has changed the row: no tasks would mean that ours are stored
			return fmt.Errorf("an idempotency key of %d tasks names %d bytes of ids", len(tasks), len(known.TaskIDs))
		case found:
			first, err = tx.load(known.TaskIDs)
			return err
		}
		if err := tx.insert(tasks); err != nil {
			return err
		}
		row := keyRow{Owner: k.Owner, Key: k.Key, Fingerprint: k.Fingerprint[:], TaskIDs: joined(tasks), Expires: instant{k.Expires}}
		if _, err := tx.execRow(upsertKey, row); err != nil {
			return fmt.Errorf("store the key: %w", err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if first == nil {
		markStored(tasks)
	}
	return first, nil
}

// joined are the ids of the tasks, one after the other.
func joined(tasks []*domain.Task) []byte {
	ids := []byte{} // not nil, which would be NULL
	for _, t := range tasks {
		id := t.ID()
		ids = append(ids, id[:]...)
	}
	return ids
}

// load reads the tasks of ids that were joined.
func (tx *tx) load(ids []byte) ([]*domain.Task, error) {
	tasks := make([]*domain.Task, 0, len(ids)/len(taskID{}))
	for ; len(ids) > 0; ids = ids[len(taskID{}):] {
		id := taskID(ids)
		var row taskRow
		found, err := tx.get(&row, selectTask, id)
		if err == nil && !found {
			err = domain.TaskGone(domain.TaskID(id))
		}
		var t *domain.Task
		if err == nil {
			t, err = row.task()
		}
		if err != nil {
			return nil, fmt.Errorf("task %s, which was stored with an idempotency key: %w", domain.TaskID(id), err)
		}
		tasks = append(tasks, t)
	}
	return tasks, nil
}
