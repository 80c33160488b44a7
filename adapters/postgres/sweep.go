package postgres

import (
	"context"
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
	return "SELECT " + selectColumns + " " + from + " FOR UPDATE OF t SKIP LOCKED"
}

// sweep locks the tasks t that it finds, lets decide change each task, stores those
// that it changed with one statement and commits. As it passes over locked rows,
// it waits for nobody and deadlocks with nobody.
func (p pool) sweep(ctx context.Context, decide application.Decide, from string, args ...any) (application.SweepResult, error) {
	var swept application.SweepResult
	err := p.Write(ctx, func(ctx context.Context, c *sqlx.Conn) error {
		return pgconn.Transact(ctx, c, func(tx *sqlx.Tx) error {
			var rows []row
			if err := tx.SelectContext(ctx, &rows, lockOf(from), args...); err != nil {
				return err
			}
			swept = decideAll(rows, decide)
			return storeLocked(ctx, tx, swept.Changed)
		})
	})
	if err != nil {
		return application.SweepResult{}, err
	}
	for _, t := range swept.Changed {
		t.MarkStored()
	}
	return swept, nil
}

// sweepIfAny sweeps after it has asked whether there is anything to find: one
// statement, and no transaction, for a sweep that nearly always finds nothing.
func (p pool) sweepIfAny(ctx context.Context, decide application.Decide, from string, args ...any) (application.SweepResult, error) {
	if found, _, err := p.anything(ctx, from, args...); err != nil || !found {
		return application.SweepResult{}, err
	}
	return p.sweep(ctx, decide, from, args...)
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
		t, err := r.task()
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
