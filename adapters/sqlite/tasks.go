package sqlite

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

var _ application.TaskRepository = (*TaskRepository)(nil)

// TaskRepository is the record of every task, in a file.
type TaskRepository struct{ db *DB }

// NewTaskRepository makes the repository of an open and migrated file.
func NewTaskRepository(db *DB) *TaskRepository { return &TaskRepository{db: db} }

// Add stores new tasks, all or none.
func (r *TaskRepository) Add(ctx context.Context, tasks ...*domain.Task) error {
	if len(tasks) == 0 {
		return nil
	}
	err := r.db.writeTogether(ctx, tasks, func(tx *tx) error { return tx.insert(tasks) })
	if err != nil {
		return err
	}
	markStored(tasks)
	return nil
}

// insert stores new tasks, and by what metadata they are found.
func (tx *tx) insert(tasks []*domain.Task) error {
	for _, t := range tasks {
		if err := tx.exec(insertTask, insertArgs(t)...); err != nil {
			return fmt.Errorf("insert task %s: %w", t.ID(), err)
		}
		metadata := t.State().Metadata
		if len(metadata) == 0 {
			continue
		}
		if err := tx.exec(insertMetadata, taskID(t.ID()), pairs{of: metadata}); err != nil {
			return fmt.Errorf("insert the metadata of task %s: %w", t.ID(), err)
		}
	}
	return nil
}

// Get returns the task, or domain.ErrTaskNotFound.
func (r *TaskRepository) Get(ctx context.Context, id domain.TaskID) (*domain.Task, error) {
	var rows []taskRow
	if err := r.db.read(ctx, &rows, selectTask, taskID(id)); err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, domain.ErrTaskNotFound
	}
	return rows[0].task()
}

// listOf is how many ids are one argument: a JSON array of hexadecimal digits.
func listOf(ids []domain.TaskID) (string, error) {
	digits := make([]string, len(ids))
	for i, id := range ids {
		digits[i] = hex.EncodeToString(id[:])
	}
	return toJSON(digits)
}

// Versions returns the version of each of the tasks that there are.
func (r *TaskRepository) Versions(ctx context.Context, ids ...domain.TaskID) (map[domain.TaskID]int64, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	list, err := listOf(ids)
	if err != nil {
		return nil, err
	}
	var rows []struct {
		ID      taskID
		Version int64
	}
	if err := r.db.read(ctx, &rows, selectVersions, list); err != nil {
		return nil, err
	}
	versions := make(map[domain.TaskID]int64, len(rows))
	for _, row := range rows {
		versions[domain.TaskID(row.ID)] = row.Version
	}
	return versions, nil
}

// GetMany returns those of the tasks that there are, up to the bytes of a portion. A row
// that cannot be read is left out: it must not hide the others, and Get says what is
// wrong with it.
func (r *TaskRepository) GetMany(ctx context.Context, ids ...domain.TaskID) (tasks []*domain.Task, rest []domain.TaskID, err error) {
	if len(ids) == 0 {
		return nil, nil, nil
	}
	list, err := listOf(ids)
	if err != nil {
		return nil, nil, err
	}
	rows, full, err := r.db.readUpTo(ctx, application.PortionBytes, selectMany, list)
	if err != nil {
		return nil, nil, err
	}
	tasks = make([]*domain.Task, 0, len(rows))
	read := make(map[domain.TaskID]bool, len(rows))
	for _, row := range rows {
		read[domain.TaskID(row.ID)] = true
		if t, err := row.task(); err == nil {
			tasks = append(tasks, t)
		}
	}
	if full {
		rest = slices.DeleteFunc(slices.Clone(ids), func(id domain.TaskID) bool { return read[id] })
	}
	return tasks, rest, nil
}

// Save stores t, and how its attempts ended, if the stored task has the version, the
// attempt and the worker that t was loaded with.
func (r *TaskRepository) Save(ctx context.Context, t *domain.Task) error {
	err := r.db.writeTogether(ctx, []*domain.Task{t}, func(tx *tx) error {
		changed, err := tx.store(t)
		if err != nil || changed > 0 {
			return err
		}
		return tx.otherwise(t)
	})
	if err != nil {
		return err
	}
	t.MarkStored()
	return nil
}

// otherwise is why the stored task is not as t was loaded.
func (tx *tx) otherwise(t *domain.Task) error {
	var version int64
	found, err := tx.get(&version, selectVersion, taskID(t.ID()))
	switch {
	case err != nil:
		return err
	case !found:
		return domain.ErrTaskNotFound
	}
	return domain.ErrConflict
}

// store stores a task, and how its attempts ended, if the stored one is as it was
// loaded, and returns how many rows of tasks that was true of.
func (tx *tx) store(t *domain.Task) (int64, error) {
	changed, err := tx.count(updateTask, updateArgs(t)...)
	if err != nil || changed == 0 {
		return changed, err
	}
	for _, a := range t.EndedAttempts() {
		if _, err := tx.execRow(insertRecord, recordOf(t.ID(), a)); err != nil {
			return 0, fmt.Errorf("record attempt %d: %w", a.Number, err)
		}
	}
	return changed, nil
}

// update stores a task that was loaded in this transaction.
func (tx *tx) update(t *domain.Task) error {
	changed, err := tx.store(t)
	if err == nil && changed != 1 {
		err = fmt.Errorf("%d rows have its id, version, attempt and worker", changed)
	}
	if err != nil {
		return fmt.Errorf("update task %s: %w", t.ID(), err)
	}
	return nil
}

// decide lets f change the task and stores it if it did, or removes it. A task that f
// refuses is left as it is: refused says why.
func (tx *tx) decide(t *domain.Task, f application.Decide) (changed bool, refused, err error) {
	if refused := f(t); refused != nil || !t.Dirty() {
		return false, refused, nil
	}
	if t.Deleted() {
		return removeLoaded(tx, t)
	}
	return true, nil, tx.update(t)
}

func markStored(tasks []*domain.Task) {
	for _, t := range tasks {
		t.MarkStored()
	}
}
