package sqlite

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"

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
	err := r.db.write(ctx, func(tx *tx) error {
		for _, t := range tasks {
			if _, err := tx.execRow(insertTask, rowOf(t)); err != nil {
				return fmt.Errorf("insert task %s: %w", t.ID(), err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	markStored(tasks)
	return nil
}

// Get returns the task, or domain.ErrTaskNotFound.
func (r *TaskRepository) Get(ctx context.Context, id domain.TaskID) (*domain.Task, error) {
	var row taskRow
	if err := r.db.reader.GetContext(ctx, &row, selectTask, taskID(id)); err != nil {
		return nil, r.db.translate(err)
	}
	return row.task()
}

// listOf is how many ids are one argument: a JSON array of hexadecimal digits.
func listOf(ids []domain.TaskID) (string, error) {
	digits := make([]string, len(ids))
	for i, id := range ids {
		digits[i] = hex.EncodeToString(id[:])
	}
	list, err := json.Marshal(digits)
	return string(list), err
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
	if err := r.db.reader.SelectContext(ctx, &rows, selectVersions, list); err != nil {
		return nil, r.db.translate(err)
	}
	versions := make(map[domain.TaskID]int64, len(rows))
	for _, row := range rows {
		versions[domain.TaskID(row.ID)] = row.Version
	}
	return versions, nil
}

// GetMany returns those of the tasks that there are. A row that cannot be read
// is left out: it must not hide the others, and Get says what is wrong with it.
func (r *TaskRepository) GetMany(ctx context.Context, ids ...domain.TaskID) ([]*domain.Task, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	list, err := listOf(ids)
	if err != nil {
		return nil, err
	}
	var rows []*taskRow
	if err := r.db.reader.SelectContext(ctx, &rows, selectMany, list); err != nil {
		return nil, r.db.translate(err)
	}
	tasks := make([]*domain.Task, 0, len(rows))
	for _, row := range rows {
		if t, err := row.task(); err == nil {
			tasks = append(tasks, t)
		}
	}
	return tasks, nil
}

// List returns the tasks that match, newest first.
func (r *TaskRepository) List(ctx context.Context, q application.TaskQuery) ([]*domain.Task, error) {
	var where []string
	var args []any
	if q.Before != (domain.TaskID{}) {
		where, args = append(where, "id < ?"), append(args, taskID(q.Before))
	}
	if len(q.Statuses) > 0 {
		in, values, err := sqlx.In("status IN (?)", q.Statuses)
		if err != nil {
			return nil, err
		}
		where, args = append(where, in), append(args, values...)
	}
	query := "SELECT " + taskColumns + " FROM tasks"
	if len(where) > 0 {
		query += " WHERE " + strings.Join(where, " AND ")
	}
	var rows []*taskRow
	if err := r.db.reader.SelectContext(ctx, &rows, query+" ORDER BY id DESC LIMIT ?", append(args, q.Limit)...); err != nil {
		return nil, r.db.translate(err)
	}
	tasks := make([]*domain.Task, 0, len(rows))
	for _, row := range rows {
		t, err := row.task()
		if err != nil {
			return nil, err
		}
		tasks = append(tasks, t)
	}
	return tasks, nil
}

// Save stores t, and how its attempts ended, if the stored version is the one
// that t was loaded at.
func (r *TaskRepository) Save(ctx context.Context, t *domain.Task) error {
	err := r.db.write(ctx, func(tx *tx) error {
		changed, err := tx.store(t)
		if err != nil || changed > 0 {
			return err
		}
		var version int64
		found, err := tx.get(&version, selectVersion, taskID(t.ID()))
		switch {
		case err != nil:
			return err
		case !found:
			return domain.ErrTaskNotFound
		}
		return domain.ErrConflict
	})
	if err != nil {
		return err
	}
	t.MarkStored()
	return nil
}

// Claim makes tasks the worker's. A row that cannot be read is left out, for a
// sweep to name it: it must not keep the rest from being claimed.
func (r *TaskRepository) Claim(ctx context.Context, c application.ClaimRequest) ([]*domain.Task, error) {
	var claimed []*domain.Task
	err := r.db.write(ctx, func(tx *tx) error {
		lease, err := tx.lease(c.Worker)
		if err != nil {
			return err
		}
		if !lease.young(time.Now()) {
			return domain.ErrWorkerStale
		}
		for _, id := range c.IDs {
			var row taskRow
			found, err := tx.get(&row, selectQueued, taskID(id))
			if err != nil {
				return err
			}
			if !found { // also the second time that a doubled id is met
				continue
			}
			t, err := row.task()
			if err != nil || t.Claim(c.Claim, c.Now) != nil {
				continue
			}
			if err := tx.update(t); err != nil {
				return err
			}
			claimed = append(claimed, t)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	markStored(claimed)
	return claimed, nil
}

// store stores a task, and how its attempts ended, if the stored version is the
// one that it was loaded at, and returns how many rows of tasks that was true of.
func (tx *tx) store(t *domain.Task) (int64, error) {
	changed, err := tx.execRow(updateTask, rowOf(t))
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
		err = fmt.Errorf("%d rows have its id and version", changed)
	}
	if err != nil {
		return fmt.Errorf("update task %s: %w", t.ID(), err)
	}
	return nil
}

// decide lets f change the task and stores it if it did. A task that f refuses
// is left as it is: refused says why.
func (tx *tx) decide(t *domain.Task, f application.Decide) (changed bool, refused, err error) {
	if refused := f(t); refused != nil || !t.Dirty() {
		return false, refused, nil
	}
	return true, nil, tx.update(t)
}

func markStored(tasks []*domain.Task) {
	for _, t := range tasks {
		t.MarkStored()
	}
}
