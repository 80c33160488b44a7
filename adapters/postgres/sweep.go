package postgres

import (
	"context"
	"fmt"

	"github.com/jmoiron/sqlx"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// sweep locks the rows that query finds, lets decide change each task, stores
// those that it changed with one statement and commits. The query passes over
// locked rows, so a sweep waits for nobody and deadlocks with nobody. It needs
// to select selectColumns.
func (db *DB) sweep(ctx context.Context, decide application.Decide, query string, args ...any) (application.Swept, error) {
	var swept application.Swept
	err := db.write(ctx, func(ctx context.Context, c *sqlx.Conn) error {
		return transact(ctx, c, func(tx *sqlx.Tx) error {
			var rows []row
			if err := tx.SelectContext(ctx, &rows, query, args...); err != nil {
				return err
			}
			swept = decideAll(rows, decide)
			if len(swept.Changed) == 0 {
				return nil
			}
			stored, err := storeChanged(ctx, tx, swept.Changed)
			if err == nil && len(stored) != len(swept.Changed) {
				err = fmt.Errorf("stored %d of %d tasks that were locked", len(stored), len(swept.Changed))
			}
			return err
		})
	})
	if err != nil {
		return application.Swept{}, err
	}
	for _, t := range swept.Changed {
		t.MarkStored()
	}
	return swept, nil
}

// decideAll is the part of a sweep that asks the domain. A row that cannot be
// read or is refused is passed over.
func decideAll(rows []row, decide application.Decide) application.Swept {
	swept := application.Swept{Found: len(rows), Passed: map[domain.TaskID]error{}}
	for _, r := range rows {
		t, err := r.task()
		if err != nil {
			swept.Passed[domain.TaskID(r.ID)] = err
			continue
		}
		before := t.State()
		if err := decide(t); err != nil {
			swept.Passed[t.ID()] = err
			continue
		}
		if t.State() != before {
			swept.Changed = append(swept.Changed, t)
		}
	}
	return swept
}
