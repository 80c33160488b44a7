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
		ids, found, err := tx.remembered(k)
		if err != nil {
			return err
		}
		if found && len(ids) != len(tasks)*len(taskID{}) { // somebody has changed the row: no tasks would mean that ours are stored
			return fmt.Errorf("an idempotency key of %d tasks names %d bytes of ids", len(tasks), len(ids))
		}
		if found {
			first, err = tx.load(ids)
			return err
		}
		if err := tx.insert(tasks); err != nil {
			return err
		}
		return tx.remember(k, joined(tasks))
	})
	if err != nil {
		return nil, err
	}
	if first == nil {
		markStored(tasks)
	}
	return first, nil
}

// remembered returns the ids that were stored with the key, and whether it is
// remembered; domain.ErrKeyReused if that was for another request.
func (tx *tx) remembered(k application.IdempotencyKey) (ids []byte, found bool, err error) {
	var known keyRow
	found, err = tx.get(&known, selectKey, k.Owner, k.Key, instant{k.Now})
	if err == nil && found && !bytes.Equal(known.Fingerprint, k.Fingerprint[:]) {
		err = domain.ErrKeyReused
	}
	return known.TaskIDs, found, err
}

// remember stores the key with ids, in place of one that has expired.
func (tx *tx) remember(k application.IdempotencyKey, ids []byte) error {
	row := keyRow{Owner: k.Owner, Key: k.Key, Fingerprint: k.Fingerprint[:], TaskIDs: ids, Expires: instant{k.Expires}}
	if _, err := tx.execRow(upsertKey, row); err != nil {
		return fmt.Errorf("store the key: %w", err)
	}
	return nil
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
