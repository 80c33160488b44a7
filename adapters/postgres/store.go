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
	updateColumns = slices.Concat([]column{idColumn}, changing)

	// selectColumns names all of a task's columns, in a statement that calls tasks t.
	selectColumns = listOf(insertColumns, func(_ int, c column) string { return "t." + c.name })

	insertSQL = fmt.Sprintf("INSERT INTO tasks (%s) SELECT * FROM unnest(%s)",
		listOf(insertColumns, nameOf), listOf(insertColumns, parameterOf))

	// updateSQL stores what is newer than what the task was loaded at, and tells
	// which rows that was true of.
	updateSQL = fmt.Sprintf(`UPDATE tasks AS t SET %s
		FROM unnest(%s, $%d::bigint[]) AS n(%s, loaded_at)
		WHERE t.id = n.id AND t.version = n.loaded_at
		RETURNING t.id`,
		listOf(changing, func(_ int, c column) string { return c.name + " = n." + c.name }),
		listOf(updateColumns, parameterOf), len(updateColumns)+1, listOf(updateColumns, nameOf))
)

func parameterOf(i int, c column) string { return fmt.Sprintf("$%d::%s[]", i+1, c.sqlType) }

// storeChanged stores all the tasks with one statement, each if its stored
// version is the one that it was loaded at, and returns the ids of those.
func storeChanged(ctx context.Context, x sqlx.QueryerContext, tasks []*domain.Task) ([]uuid.UUID, error) {
	loadedAt := make([]int64, len(tasks))
	for i, t := range tasks {
		loadedAt[i] = t.StoredVersion()
	}
	var ids []uuid.UUID
	err := sqlx.SelectContext(ctx, x, &ids, updateSQL,
		append(arraysOf(updateColumns, statesOf(tasks)), pq.Array(loadedAt))...)
	return ids, err
}
