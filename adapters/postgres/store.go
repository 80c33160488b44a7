package postgres

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/jmoiron/sqlx"

	"github.com/millrace/millrace/adapters/postgres/internal/pgconn"
	"github.com/millrace/millrace/adapters/postgres/internal/pgenc"
	"github.com/millrace/millrace/domain"
)

var (
	// insertColumns are those that every insert writes, but for the message; see insertColumnsOf.
	insertColumns = slices.Concat(insertOnlyColumns, mutableColumns)
	allColumns    = slices.Concat(insertColumns, rareColumns, []pgenc.Column[written]{messageColumn})

	// selectColumns names all of a task's columns, in a statement that calls tasks t.
	selectColumns = qualified(allColumns)

	// decidingColumns are those that a rule may ask for: see row.withoutTexts.
	decidingColumns = qualified(slices.DeleteFunc(slices.Clone(allColumns), func(c pgenc.Column[written]) bool {
		return c.Name() == "message" || c.Name() == "result"
	}))
)

func qualified(columns []pgenc.Column[written]) string {
	return "t." + strings.ReplaceAll(pgenc.Names(columns), ", ", ", t.")
}

// insertColumnsOf are the columns that an insert of the tasks writes: all that are not
// NULL in every one of them.
func insertColumnsOf(all []written) []pgenc.Column[written] {
	columns := slices.Clone(insertColumns)
	for _, c := range rareColumns {
		if !c.Null(all) {
			columns = append(columns, c)
		}
	}
	return append(columns, messageColumn)
}

// indexMetadataSQL writes the metadata of the tasks added, pair by pair.
const indexMetadataSQL = `
INSERT INTO task_metadata (key, value, task_id)
SELECT pair.key, pair.value, added.id FROM added, jsonb_each_text(added.metadata) AS pair`

// insertOf is the statement that stores new tasks, with what finds them by their
// metadata, and its arguments.
func insertOf(tasks []*domain.Task) (_ pgconn.Stmt, args []any) {
	var p pgenc.Params
	all := writtenOf(tasks)
	columns := insertColumnsOf(all)
	source, values := pgenc.UnnestSource(&p, "n", columns, all)
	query := fmt.Sprintf("INSERT INTO tasks (%s) SELECT %s FROM %s", pgenc.Names(columns), strings.Join(values, ", "), source)
	if slices.ContainsFunc(all, func(s written) bool { return len(s.Metadata) > 0 }) {
		query = "WITH added AS (" + query + " RETURNING id, metadata)" + indexMetadataSQL
	}
	return pgconn.Prepared(query), p
}

// locks says what a statement does about the rows that somebody else has locked.
type locks int

const (
	locksAreOurs locks = iota // there are none: this transaction has locked all that it stores
	waitBriefly               // it waits briefly for each, and fails if one stays locked
	skipLocked                // it passes over them
)

// storeChanged stores all the tasks and their ended attempts with one statement,
// each if its stored version is the one that it was loaded at, and returns the
// ids of those. The tasks differ.
func storeChanged(ctx context.Context, x sqlx.QueryerContext, tasks []*domain.Task, l locks) ([]domain.TaskID, error) {
	ids := make([]domain.TaskID, 0, len(tasks))
	var id domain.TaskID
	to := scanInto(&id, idOf)
	query, args := updateOf(tasks, l)
	err := query.Each(ctx, x, func(row *sql.Rows) error {
		err := row.Scan(to)
		ids = append(ids, id)
		return err
	}, args...)
	return ids, err
}

// freeSQL locks those of the tasks, the first argument, that nobody else has locked.
const freeSQL = "free AS MATERIALIZED (SELECT t.id FROM tasks AS t WHERE t.id = ANY($1::uuid[]) FOR NO KEY UPDATE SKIP LOCKED)"

// isFree is looked up in a hash of what is free. The CASE keeps the planner, which does
// not know how many tasks the arguments have, from comparing each with each.
const isFree = "CASE WHEN n.id IN (SELECT free.id FROM free) THEN true ELSE false END"

// updateOf is the statement of storeChanged, and its arguments. It sets the columns
// that are changed in any of the tasks.
//
// The lock is the one that the update takes: whoever does not keep that from it is
// not passed over.
//
// With = in place of ANY it could be planned as a join of the whole table, which a
// prepared statement would go on with when the table has grown.
func updateOf(tasks []*domain.Task, l locks) (_ pgconn.Stmt, args []any) {
	var p pgenc.Params
	all := writtenOf(tasks)
	columns := slices.Concat([]pgenc.Column[written]{idColumn}, loadedColumns, changedColumns(tasks, all))
	source, values := pgenc.UnnestSource(&p, "n", columns, all)
	set, fixed := make([]string, 0, len(columns)), 1+len(loadedColumns)
	for i, c := range columns[fixed:] {
		set = append(set, c.Name()+" = "+values[fixed+i])
	}
	var with []string
	condition := ""
	switch l {
	case locksAreOurs:
	case waitBriefly:
		condition = " AND " + pgconn.Briefly
	case skipLocked:
		with = append(with, freeSQL)
		condition = " AND " + isFree
	}
	query := fmt.Sprintf("UPDATE tasks AS t SET %s FROM %s WHERE t.id = ANY(ARRAY[n.id]) AND %s%s RETURNING ",
		strings.Join(set, ", "), source, asLoaded(values[1:fixed]), condition)
	if records := recordsOf(tasks); len(records) > 0 {
		with = append(with, "changed AS ("+query+"t.id)", "recorded AS ("+recordOf(&p, records)+")")
		query = "SELECT uuid_send(id) FROM changed"
	} else {
		query += "uuid_send(t.id)"
	}
	if len(with) > 0 {
		query = "WITH " + strings.Join(with, ", ") + " " + query
	}
	return pgconn.Prepared(query), p
}

// recordOf stores the records of those tasks that are changed. An attempt that has
// a record keeps it: a doubled one must not cost the task its change.
func recordOf(p *pgenc.Params, records []record) string {
	source, values := pgenc.UnnestSource(p, "a", recordColumns, records)
	return fmt.Sprintf("INSERT INTO attempts (%s) SELECT %s FROM %s WHERE a.task_id IN (SELECT id FROM changed) ON CONFLICT DO NOTHING",
		pgenc.Names(recordColumns), strings.Join(values, ", "), source)
}

// changedColumns are those that a save of the tasks has to store.
func changedColumns(tasks []*domain.Task, now []written) []pgenc.Column[written] {
	perhaps := mutableColumns[len(alwaysUpdated):]
	changed := make([]bool, len(perhaps))
	var before written // one of them at a time: they are large
	var buf [2][]byte
	for i, t := range tasks {
		before.TaskState = t.Stored()
		for k, c := range perhaps {
			changed[k] = changed[k] || !c.Equal(&before, &now[i], &buf)
		}
	}
	columns := slices.Clone(alwaysUpdated)
	for k, c := range perhaps {
		if changed[k] {
			columns = append(columns, c)
		}
	}
	return columns
}

// storeOurs is storeChanged for tasks that are locked, so that all are stored. Those that
// are to be deleted are.
func storeOurs(ctx context.Context, x sqlx.QueryerContext, tasks []*domain.Task) error {
	var kept, deleted []*domain.Task
	for _, t := range tasks {
		if t.Deleted() {
			deleted = append(deleted, t)
		} else {
			kept = append(kept, t)
		}
	}
	if err := deleteOurs(ctx, x, deleted); err != nil || len(kept) == 0 {
		return err
	}
	stored, err := storeChanged(ctx, x, kept, locksAreOurs)
	if err == nil && len(stored) != len(kept) {
		err = fmt.Errorf("stored %d of %d tasks that were locked", len(stored), len(kept))
	}
	return err
}
