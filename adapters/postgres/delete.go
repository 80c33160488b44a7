package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jmoiron/sqlx"

	"github.com/millrace/millrace/adapters/postgres/internal/pgconn"
	"github.com/millrace/millrace/adapters/postgres/internal/pgenc"
	"github.com/millrace/millrace/domain"
)

// deletionOf is a statement that removes the tasks t of which the condition is true, with
// the pairs that they are found by, and returns how many they were. Their attempts go with
// them, by the foreign key. It waits Briefly for each row that somebody else has locked:
// those of attempts and task_metadata too.
func deletionOf(condition string) string {
	return "WITH gone AS (DELETE FROM tasks AS t WHERE " + condition + " AND " + pgconn.Briefly + " RETURNING t.id, t.metadata), " +
		pairsOfGone + " SELECT count(*) FROM gone"
}

// pairsOfGone removes the pairs that the tasks of the query gone were found by. They are
// in the task; what is no object has none. (With = in place of ANY, or without pairs, it
// would be planned as a join of all of task_metadata: the planner takes each task for one
// with a hundred pairs.)
const pairsOfGone = `pairs AS MATERIALIZED (
	SELECT pair.key, pair.value, gone.id
	FROM gone, jsonb_each_text(CASE WHEN jsonb_typeof(gone.metadata) = 'object' THEN gone.metadata END) AS pair
), found_by AS (
	DELETE FROM task_metadata AS m USING pairs AS p
	WHERE m.key = ANY(ARRAY[p.key]) AND m.value = ANY(ARRAY[p.value]) AND m.task_id = ANY(ARRAY[p.id])
)`

var (
	// deleteSQL removes a task that is as it was loaded. The status is compared too: after
	// a failover that has lost changes, a version may be another change's, and what is
	// deleted by mistake does not come back.
	deleteSQL = deletionOf("t.id = $1 AND t.status = $5 AND " + asLoaded([]string{"$2", "$3", "$4"}))
	// deleteOursSQL removes tasks that this transaction has locked.
	deleteOursSQL = deletionOf("t.id = ANY($1::uuid[])")
)

// Delete removes t, and what is recorded of it, if the stored task is as t was loaded.
// What somebody else keeps locked is tried again with pauses, as by Save.
func (r *TaskRepository) Delete(ctx context.Context, t *domain.Task) error {
	return r.db.untilFree(ctx, fmt.Sprintf("task %s", t.ID()), func() (bool, error) { return r.delete(ctx, t) })
}

// delete is one try of Delete; it is not done if somebody else has a row of it locked.
func (r *TaskRepository) delete(ctx context.Context, t *domain.Task) (done bool, err error) {
	loaded := loadedAsOf(t)
	var gone int
	locked, err := r.db.calls.WriteUnlocked(ctx, func(ctx context.Context, c *sqlx.Conn) error {
		return sqlx.GetContext(ctx, c, &gone, deleteSQL, t.ID().String(), loaded.Version, loaded.Attempt, loaded.Worker, string(t.Stored().Status))
	})
	if err != nil || locked || gone > 0 {
		return gone > 0, err
	}
	stored, err := r.Get(ctx, t.ID())
	if err != nil {
		return false, err
	}
	if loadedAsOf(stored) != loaded || stored.Status() != t.Stored().Status {
		return false, domain.ErrConflict
	}
	return false, nil
}

var (
	// errRowsLocked says that somebody else has locked rows of the attempts or of the
	// metadata of tasks which this transaction has locked.
	errRowsLocked = errors.New("somebody else has locked rows of the tasks")
	// errLeftOut says that a trigger of the operator's has kept tasks from being deleted,
	// without an error.
	errLeftOut = errors.New("left out by a trigger")
)

// aboutOne reports whether one of the tasks of a statement is to blame for its error, and
// the others can be stored without it.
func aboutOne(err error) bool {
	return pgconn.AboutData(err) || errors.Is(err, errRowsLocked) || errors.Is(err, errLeftOut)
}

// deleteOurs removes tasks that are locked.
func deleteOurs(ctx context.Context, x sqlx.QueryerContext, tasks []*domain.Task) error {
	if len(tasks) == 0 {
		return nil
	}
	ids := make([]domain.TaskID, len(tasks))
	for i, t := range tasks {
		ids[i] = t.ID()
	}
	var gone int
	err := sqlx.GetContext(ctx, x, &gone, deleteOursSQL, pgenc.UUIDs(ids))
	switch {
	case pgconn.Locked(err):
		return fmt.Errorf("%w: %w", errRowsLocked, err)
	case err == nil && gone != len(tasks):
		return fmt.Errorf("%w: deleted %d of %d tasks that were locked", errLeftOut, gone, len(tasks))
	}
	return err
}
