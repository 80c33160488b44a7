package postgres

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"

	"github.com/millrace/millrace/domain"
)

var (
	insertColumns = slices.Concat(born, changing)
	updateColumns = slices.Concat([]column[domain.TaskState]{idColumn}, changing)

	// selectColumns names all of a task's columns, in a statement that calls tasks t.
	selectColumns = listOf(insertColumns, func(_ int, c column[domain.TaskState]) string { return "t." + c.name })

	insertSQL = fmt.Sprintf("INSERT INTO tasks (%s) SELECT * FROM unnest(%s)",
		listOf(insertColumns, nameOf), arrayParameters(insertColumns, 1))

	// insertAndIndexSQL does that, and writes what finds the tasks by their metadata.
	insertAndIndexSQL = "WITH added AS (" + insertSQL + " RETURNING id, metadata)" + indexMetadataSQL

	// updateSQL stores what is newer than what the task was loaded at, and tells
	// which rows that was true of.
	updateSQL = fmt.Sprintf(`UPDATE tasks AS t SET %s
		FROM unnest(%s, $%d::bigint[]) AS n(%s, loaded_at)
		WHERE t.id = n.id AND t.version = n.loaded_at
		RETURNING t.id`,
		listOf(changing, func(_ int, c column[domain.TaskState]) string { return c.name + " = n." + c.name }),
		arrayParameters(updateColumns, 1), len(updateColumns)+1, listOf(updateColumns, nameOf))

	// updateAndRecordSQL does that, and stores the attempts of those rows. One that
	// has a record keeps it: a doubled one must not cost the task its change.
	updateAndRecordSQL = fmt.Sprintf(`WITH changed AS (%[1]s), recorded AS (
			INSERT INTO attempts (%[2]s)
			SELECT %[2]s FROM unnest(%[3]s) AS a(%[2]s) WHERE task_id IN (SELECT id FROM changed)
			ON CONFLICT DO NOTHING
		)
		SELECT id FROM changed`,
		updateSQL, listOf(recordColumns, nameOf), arrayParameters(recordColumns, len(updateColumns)+2))
)

// indexMetadataSQL writes the metadata of the tasks added, pair by pair.
const indexMetadataSQL = `
INSERT INTO task_metadata (key, value, task_id)
SELECT pair.key, pair.value, added.id FROM added, jsonb_each_text(added.metadata) AS pair`

// arrayParameters are the columns as parameters, the first of which is $from.
func arrayParameters[S any](columns []column[S], from int) string {
	return listOf(columns, func(i int, c column[S]) string { return fmt.Sprintf("$%d::%s[]", from+i, c.sqlType) })
}

// insertOf is the statement that stores new tasks, and its arguments.
func insertOf(tasks []*domain.Task) (query string, args []any) {
	states := statesOf(tasks)
	query = insertSQL
	if slices.ContainsFunc(states, func(s domain.TaskState) bool { return len(s.Metadata) > 0 }) {
		query = insertAndIndexSQL
	}
	return query, arraysOf(insertColumns, states)
}

// storeChanged stores all the tasks and their ended attempts with one statement,
// each if its stored version is the one that it was loaded at, and returns the
// ids of those.
func storeChanged(ctx context.Context, x sqlx.QueryerContext, tasks []*domain.Task) ([]uuid.UUID, error) {
	var ids []uuid.UUID
	query, args := updateOf(tasks)
	err := sqlx.SelectContext(ctx, x, &ids, query, args...)
	return ids, err
}

// updateOf is the statement of storeChanged, and its arguments.
func updateOf(tasks []*domain.Task) (query string, args []any) {
	loadedAt := make([]int64, len(tasks))
	for i, t := range tasks {
		loadedAt[i] = t.StoredVersion()
	}
	query, args = updateSQL, append(arraysOf(updateColumns, statesOf(tasks)), pq.Array(loadedAt))
	if records := recordsOf(tasks); len(records) > 0 {
		query, args = updateAndRecordSQL, append(args, arraysOf(recordColumns, records)...)
	}
	return query, args
}

// storeLocked is storeChanged for tasks that are locked, so that all are stored.
func storeLocked(ctx context.Context, x sqlx.QueryerContext, tasks []*domain.Task) error {
	if len(tasks) == 0 {
		return nil
	}
	stored, err := storeChanged(ctx, x, tasks)
	if err == nil && len(stored) != len(tasks) {
		err = fmt.Errorf("stored %d of %d tasks that were locked", len(stored), len(tasks))
	}
	return err
}
