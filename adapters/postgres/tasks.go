package postgres

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/millrace/millrace/adapters/postgres/internal/pgenc"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

var _ application.TaskRepository = (*TaskRepository)(nil)

// TaskRepository keeps tasks in the table tasks, how their attempts ended in the
// table attempts, and the keys of requests that may be repeated in the table
// idempotency_keys. It is safe for concurrent use.
type TaskRepository struct {
	db      *DB
	limited atomic.Pointer[[]string] // the queues in which the last claim has met a limit; nil: none
}

// NewTaskRepository makes a repository on db, whose schema Migrate has made.
func NewTaskRepository(db *DB) *TaskRepository { return &TaskRepository{db: db} }

// Add stores new tasks with one statement, so all or none, together with those of
// other callers if there are not enough of them for a statement of their own.
func (r *TaskRepository) Add(ctx context.Context, tasks ...*domain.Task) error {
	if len(tasks) == 0 {
		return nil
	}
	var err error
	if len(tasks) < maxShared {
		err = share(ctx, r.db.shared.adds, tasks)
	} else {
		err = r.db.calls.addAll(ctx, tasks)
	}
	if err != nil {
		return err
	}
	for _, t := range tasks {
		t.MarkStored()
	}
	return nil
}

// Get returns the task, or domain.ErrTaskNotFound.
func (r *TaskRepository) Get(ctx context.Context, id domain.TaskID) (*domain.Task, error) {
	var found row
	err := r.db.calls.Read(ctx, func(ctx context.Context, q sqlx.QueryerContext) error {
		return sqlx.GetContext(ctx, q, &found, "SELECT "+selectColumns+" FROM tasks AS t WHERE t.id = $1", id.String())
	})
	if err != nil {
		return nil, err
	}
	return found.task()
}

const tasksByID = " FROM tasks AS t WHERE t.id = ANY($1::uuid[])"

var getPortionSQL = portionSQL(tasksByID, "t.id")

// portionSQL leaves out the tasks from which on they are larger than PortionBytes
// together, except the first, and says how many there are in all. The server reads no
// text of what is left out.
func portionSQL(from, order string) string {
	return fmt.Sprintf(`SELECT %s, t.found FROM (
			SELECT t.*, count(*) OVER () AS found, row_number() OVER w AS place, sum(%s) OVER w AS bytes%s WINDOW w AS (ORDER BY %s)
		) AS t WHERE t.bytes <= %d OR t.place = 1 ORDER BY t.place`, selectColumns, sizeSQL, from, order, application.PortionBytes)
}

// portionRow is a row of a portion.
type portionRow struct {
	row
	Found int // how many there are in all
}

// GetMany returns those of the tasks that there are, up to the bytes of a portion. A row
// that cannot be read is left out: it must not hide the others, and Get says what is
// wrong with it.
func (r *TaskRepository) GetMany(ctx context.Context, ids ...domain.TaskID) (tasks []*domain.Task, rest []domain.TaskID, err error) {
	if len(ids) == 0 {
		return nil, nil, nil
	}
	var rows []portionRow
	if err := r.db.calls.Read(ctx, func(ctx context.Context, q sqlx.QueryerContext) error {
		return sqlx.SelectContext(ctx, q, &rows, getPortionSQL, pgenc.UUIDs(ids))
	}); err != nil {
		return nil, nil, err
	}
	tasks = make([]*domain.Task, 0, len(rows))
	read := make(map[domain.TaskID]bool, len(rows))
	for _, found := range rows {
		read[domain.TaskID(found.ID)] = true
		if t, err := found.task(); err == nil {
			tasks = append(tasks, t)
		}
	}
	if len(rows) > 0 && len(rows) < rows[0].Found {
		rest = slices.DeleteFunc(slices.Clone(ids), func(id domain.TaskID) bool { return read[id] })
	}
	return tasks, rest, nil
}

// Versions returns the version of each of the tasks that there are.
func (r *TaskRepository) Versions(ctx context.Context, ids ...domain.TaskID) (map[domain.TaskID]int64, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	var rows []struct {
		ID      uuid.UUID
		Version int64
	}
	if err := r.db.calls.Read(ctx, func(ctx context.Context, q sqlx.QueryerContext) error {
		return sqlx.SelectContext(ctx, q, &rows, "SELECT id, version FROM tasks WHERE id = ANY($1::uuid[])", pgenc.UUIDs(ids))
	}); err != nil {
		return nil, err
	}
	versions := make(map[domain.TaskID]int64, len(rows))
	for _, r := range rows {
		versions[domain.TaskID(r.ID)] = r.Version
	}
	return versions, nil
}

// Save stores t, and how its attempts ended, if the stored task is as t was loaded: with
// one statement for it and the tasks of other callers. That leaves out a task that
// somebody else keeps locked, which is tried again with pauses: nothing is held
// meanwhile, and nobody waits but this caller.
func (r *TaskRepository) Save(ctx context.Context, t *domain.Task) error {
	if done, err := r.save(ctx, &saveItem{task: t}); done || err != nil {
		return err
	}
	return r.db.untilFree(ctx, fmt.Sprintf("task %s", t.ID()), func() (bool, error) {
		return r.save(ctx, &saveItem{task: t, again: true})
	})
}

// save is one try of Save; it is not done if somebody else has the task locked.
func (r *TaskRepository) save(ctx context.Context, item *saveItem) (done bool, err error) {
	t := item.task
	if err := share(ctx, r.db.shared.saves, item); err != nil {
		return false, err
	}
	if item.stored {
		t.MarkStored()
		return true, nil
	}
	if asLoaded, err := r.isLoaded(ctx, t); err != nil || asLoaded {
		return false, err
	}
	return false, domain.ErrConflict
}
