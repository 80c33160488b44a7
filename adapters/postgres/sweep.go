package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/millrace/millrace/adapters/postgres/internal/pgconn"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// anyOf asks whether a sweep would find any task, and when that was. It locks
// nothing. It is no EXISTS, as that drops the order, and with it the index that the
// order needs.
func anyOf(from string) string {
	return "SELECT count(*) > 0 AS found, clock_timestamp() AS at FROM (SELECT " + from + ") AS found"
}

// lockOf asks for the tasks of a sweep and locks them, passing over what is locked.
func lockOf(from string) string {
	return "SELECT " + decidingColumns + " " + from + " FOR UPDATE OF t SKIP LOCKED"
}

// sweep locks the tasks t that it finds, lets decide change each task, stores those
// that it changed with one statement and commits. As it passes over locked rows,
// it waits for nobody and deadlocks with nobody. If the server refuses the statement
// because of one task, it is done again, task by task where it has to be.
func (p pool) sweep(ctx context.Context, decide application.Decide, from string, args ...any) (application.SweepResult, error) {
	return p.sweepLocked(ctx, decide, lockOf(from), args...)
}

// sweepLocked is sweep with a query that finds and locks the tasks t.
func (p pool) sweepLocked(ctx context.Context, decide application.Decide, query string, args ...any) (application.SweepResult, error) {
	swept, err := p.sweepOnce(ctx, decide, storeLocked, query, args...)
	if aboutOne(err) {
		swept, err = p.sweepOnce(ctx, decide, storeApart, query, args...)
	}
	if err != nil {
		return application.SweepResult{}, err
	}
	for _, t := range swept.Changed {
		t.MarkStored()
	}
	return swept, nil
}

func (p pool) sweepOnce(ctx context.Context, decide application.Decide, store storing, query string, args ...any) (swept application.SweepResult, err error) {
	err = p.Write(ctx, func(ctx context.Context, c *sqlx.Conn) error {
		return pgconn.Transact(ctx, c, func(tx *sqlx.Tx) error {
			var rows []row
			if err := tx.SelectContext(ctx, &rows, query, args...); err != nil {
				return err
			}
			swept = decideAll(rows, decide)
			return store(ctx, tx, &swept)
		})
	})
	return swept, err
}

// storing stores what a sweep has changed, all of it locked. What the server refuses it
// moves from Changed to Passed.
type storing func(ctx context.Context, tx *sqlx.Tx, swept *application.SweepResult) error

// storeLocked stores all with one statement.
func storeLocked(ctx context.Context, tx *sqlx.Tx, swept *application.SweepResult) error {
	return storeOurs(ctx, tx, swept.Changed)
}

// storeApart stores the tasks in halves where it has to, so that one which the server
// refuses does not keep the others from being stored.
func storeApart(ctx context.Context, tx *sqlx.Tx, swept *application.SweepResult) error {
	var store func(tasks []*domain.Task) error
	store = func(tasks []*domain.Task) error {
		if _, err := tx.ExecContext(ctx, "SAVEPOINT part"); err != nil {
			return err
		}
		refused := storeOurs(ctx, tx, tasks)
		if refused != nil && !aboutOne(refused) {
			return refused
		}
		if refused == nil {
			_, err := tx.ExecContext(ctx, "RELEASE SAVEPOINT part")
			return err
		}
		if _, err := tx.ExecContext(ctx, "ROLLBACK TO SAVEPOINT part; RELEASE SAVEPOINT part"); err != nil {
			return err
		}
		if len(tasks) == 1 {
			swept.Passed[tasks[0].ID()] = refused
			return nil
		}
		half := len(tasks) / 2
		if err := store(tasks[:half]); err != nil {
			return err
		}
		return store(tasks[half:])
	}
	if err := store(swept.Changed); err != nil {
		return err
	}
	swept.Changed = slices.DeleteFunc(swept.Changed, func(t *domain.Task) bool { return swept.Passed[t.ID()] != nil })
	return nil
}

// anything asks whether a sweep would find any task, and at which time of the
// server that was so.
func (p pool) anything(ctx context.Context, from string, args ...any) (bool, time.Time, error) {
	var answer struct {
		Found bool
		At    time.Time
	}
	err := p.Read(ctx, func(ctx context.Context, x sqlx.QueryerContext) error {
		return sqlx.GetContext(ctx, x, &answer, anyOf(from), args...)
	})
	return answer.Found, answer.At.UTC(), err
}

// decideAll is the part of a sweep that asks the domain. A row that cannot be
// read or is refused is passed over.
func decideAll(rows []row, decide application.Decide) application.SweepResult {
	swept := application.SweepResult{Found: len(rows), Passed: map[domain.TaskID]error{}}
	for _, r := range rows {
		t, err := r.withoutTexts()
		if err != nil {
			swept.Passed[domain.TaskID(r.ID)] = err
			continue
		}
		if err := decide(t); err != nil {
			swept.Passed[t.ID()] = err
			continue
		}
		if t.Dirty() {
			swept.Changed = append(swept.Changed, t)
		}
	}
	return swept
}
