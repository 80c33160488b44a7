package sqlite

import (
	"bytes"
	"context"
	"fmt"
	"slices"

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
func (r *TaskRepository) AddOnce(ctx context.Context, k application.IdempotencyKey, tasks ...*domain.Task) (first []*domain.Task, rest []domain.TaskID, err error) {
	err = r.db.writeTogether(ctx, tasks, func(tx *tx) error {
		ids, found, err := tx.remembered(k, len(tasks))
		if err != nil {
			return err
		}
		if first, rest = nil, nil; found {
			first, rest, err = tx.load(ids)
			return err
		}
		if err := tx.insert(tasks); err != nil {
			return err
		}
		return tx.remember(k, joined(tasks))
	})
	if err != nil {
		return nil, nil, err
	}
	if first == nil {
		markStored(tasks)
	}
	return first, rest, nil
}

// remembered returns the ids that were stored with the key, and whether it is
// remembered; domain.ErrKeyReused if that was for another request. n is how many ids the
// request has: another number means that somebody has changed the row. (No tasks would mean
// that ours are stored.)
func (tx *tx) remembered(k application.IdempotencyKey, n int) (ids []byte, found bool, err error) {
	var known keyRow
	found, err = tx.get(&known, selectKey, k.Owner, k.Key, instant{k.Now})
	switch {
	case err != nil || !found:
		return nil, false, err
	case !bytes.Equal(known.Fingerprint, k.Fingerprint[:]):
		return nil, false, domain.ErrKeyReused
	case len(known.TaskIDs) != n*len(taskID{}):
		return nil, false, domain.KeyDamaged(fmt.Sprintf("it names %d bytes of ids, not %d ids", len(known.TaskIDs), n))
	}
	return known.TaskIDs, true, nil
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

// load reads the tasks of ids that were joined, up to the bytes of a portion. The others
// are in rest; of these it only looks whether they are there and can be read.
func (tx *tx) load(ids []byte) (tasks []*domain.Task, rest []domain.TaskID, err error) {
	bytes := 0
	for part := range slices.Chunk(ids, len(taskID{})) {
		id := domain.TaskID(part)
		if len(rest) > 0 {
			if err := tx.checkStored(id); err != nil {
				return nil, nil, err
			}
			rest = append(rest, id)
			continue
		}
		row, err := tx.storedTask(selectTask, id)
		if err != nil {
			return nil, nil, err
		}
		t, err := row.task()
		if err != nil {
			return nil, nil, err
		}
		if bytes += row.size(); bytes > application.PortionBytes && len(tasks) > 0 {
			rest = append(rest, id)
			continue
		}
		tasks = append(tasks, t)
	}
	return tasks, rest, nil
}

// checkStored returns an error if the task is not there, or cannot be read.
func (tx *tx) checkStored(id domain.TaskID) error {
	row, err := tx.storedTask(selectWithoutTexts, id)
	if err == nil {
		_, err = row.withoutTexts()
	}
	return err
}

// storedTask reads a task that was stored with a key.
func (tx *tx) storedTask(query string, id domain.TaskID) (row taskRow, err error) {
	found, err := tx.get(&row, query, taskID(id))
	if err == nil && !found {
		err = domain.TaskGone(id)
	}
	return row, err
}
