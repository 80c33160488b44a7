package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"

	"github.com/millrace/millrace/domain"
)

var (
	insertColumns = slices.Concat(born, changing)

	// selectColumns names all of a task's columns, in a statement that calls tasks t.
	selectColumns = qualified(insertColumns)
)

func qualified(columns []column[written]) string {
	return "t." + strings.ReplaceAll(namesOf(columns), ", ", ", t.")
}

// indexMetadataSQL writes the metadata of the tasks added, pair by pair.
const indexMetadataSQL = `
INSERT INTO task_metadata (key, value, task_id)
SELECT pair.key, pair.value, added.id FROM added, jsonb_each_text(added.metadata) AS pair`

// insertOf is the statement that stores new tasks, with what finds them by their
// metadata, and its arguments.
func insertOf(tasks []*domain.Task) (query string, args []any) {
	var p parameters
	all := writtenOf(tasks)
	source, values := spread(&p, "n", insertColumns, all)
	query = fmt.Sprintf("INSERT INTO tasks (%s) SELECT %s FROM %s", namesOf(insertColumns), strings.Join(values, ", "), source)
	if slices.ContainsFunc(all, func(s written) bool { return len(s.Metadata) > 0 }) {
		query = "WITH added AS (" + query + " RETURNING id, metadata)" + indexMetadataSQL
	}
	return query, p
}

// storeChanged stores all the tasks and their ended attempts with one statement,
// each if its stored version is the one that it was loaded at, and returns the
// ids of those. The tasks differ, and are sorted by their ids if they are not locked.
func storeChanged(ctx context.Context, x sqlx.QueryerContext, tasks []*domain.Task) ([]uuid.UUID, error) {
	var ids []uuid.UUID
	query, args := updateOf(tasks)
	err := sqlx.SelectContext(prepared(ctx), x, &ids, query, args...)
	return ids, err
}

// updateOf is the statement of storeChanged, and its arguments. It sets the columns
// that are changed in any of the tasks.
//
// With = in place of ANY it could be planned as a join of the whole table, which a
// prepared statement would go on with when the table has grown.
func updateOf(tasks []*domain.Task) (query string, args []any) {
	var p parameters
	all := writtenOf(tasks)
	columns := slices.Concat([]column[written]{idColumn, loadedAtColumn}, changedColumns(tasks, all))
	source, values := spread(&p, "n", columns, all)
	set := make([]string, 0, len(columns))
	for i, c := range columns[2:] {
		set = append(set, c.name+" = "+values[i+2])
	}
	query = fmt.Sprintf("UPDATE tasks AS t SET %s FROM %s WHERE t.id = ANY(ARRAY[n.id]) AND t.version = n.loaded_at RETURNING t.id",
		strings.Join(set, ", "), source)
	if records := recordsOf(tasks); len(records) > 0 {
		query = "WITH changed AS (" + query + "), recorded AS (" + recordOf(&p, records) + ") SELECT id FROM changed"
	}
	return query, p
}

// recordOf stores the records of those tasks that are changed. An attempt that has
// a record keeps it: a doubled one must not cost the task its change.
func recordOf(p *parameters, records []record) string {
	source, values := spread(p, "a", recordColumns, records)
	return fmt.Sprintf("INSERT INTO attempts (%s) SELECT %s FROM %s WHERE a.task_id IN (SELECT id FROM changed) ON CONFLICT DO NOTHING",
		namesOf(recordColumns), strings.Join(values, ", "), source)
}

// changedColumns are those that a save of the tasks has to store.
func changedColumns(tasks []*domain.Task, now []written) []column[written] {
	before := make([]written, len(tasks))
	for i, t := range tasks {
		before[i].TaskState = t.Stored()
	}
	columns := slices.Clone(always)
	var room [2][]byte
	for _, c := range changing[len(always):] {
		for i := range tasks {
			if !c.equal(&before[i], &now[i], &room) {
				columns = append(columns, c)
				break
			}
		}
	}
	return columns
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
