package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"

	"github.com/jmoiron/sqlx"

	"github.com/millrace/millrace/domain"
)

// statements are what transactions run, prepared once on the writing connection.
type statements struct {
	mu    sync.Mutex
	plain map[string]*sqlx.Stmt      // by query; its arguments by place
	named map[string]*sqlx.NamedStmt // by query; its arguments are the fields of a row
}

// prepare makes the statements unless they are there. It needs the writing
// connection, and so must not be called by who holds that.
func (db *DB) prepare(ctx context.Context) error {
	s := &db.statements
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, query := range plainQueries {
		if s.plain[query] == nil {
			stmt, err := db.writer.PreparexContext(ctx, query)
			if err != nil {
				return err
			}
			s.plain[query] = stmt
		}
	}
	for _, query := range namedQueries {
		if s.named[query] == nil {
			stmt, err := db.writer.PrepareNamedContext(ctx, query)
			if err != nil {
				return err
			}
			s.named[query] = stmt
		}
	}
	return nil
}

// tx is a writing transaction. It takes the queries of plainQueries and
// namedQueries, and no others.
type tx struct {
	ctx   context.Context // never done: what has begun is brought to its end
	sql   *sqlx.Tx
	from  *statements
	plain map[string]*sqlx.Stmt
	named map[string]*sqlx.NamedStmt
}

// write runs change in a transaction and returns after its commit. ctx ends the
// wait for the writer; from then on nothing interrupts, so that a caller never
// has to wonder what became of its write. An error of change undoes all of it.
func (db *DB) write(ctx context.Context, change func(*tx) error) error {
	return db.translate(db.transact(ctx, change))
}

// transact is write, with errors as they come.
func (db *DB) transact(ctx context.Context, change func(*tx) error) error {
	err := db.transactOnce(ctx, change)
	db.room.note(err)
	return err
}

func (db *DB) transactOnce(ctx context.Context, change func(*tx) error) error {
	if err := db.file.check(); err != nil {
		return err
	}
	if err := db.prepare(ctx); err != nil {
		return err
	}
	conn, err := db.writer.Connx(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx = context.WithoutCancel(ctx)
	began, err := conn.BeginTxx(ctx, nil)
	if err != nil {
		return err
	}
	defer began.Rollback() // of no effect after the commit
	err = change(&tx{
		ctx: ctx, sql: began, from: &db.statements,
		plain: map[string]*sqlx.Stmt{}, named: map[string]*sqlx.NamedStmt{},
	})
	if err != nil {
		return err
	}
	if err := began.Commit(); err != nil {
		return fmt.Errorf("%w: commit: %w", domain.ErrUnavailable, err)
	}
	return db.file.check() // what was committed to a file that is gone is not stored
}

func (tx *tx) stmt(query string) *sqlx.Stmt {
	stmt, ok := tx.plain[query]
	if !ok {
		stmt = tx.sql.StmtxContext(tx.ctx, tx.from.plain[query])
		tx.plain[query] = stmt
	}
	return stmt
}

// get reads one row into dest; false if there is none.
func (tx *tx) get(dest any, query string, args ...any) (bool, error) {
	err := tx.stmt(query).GetContext(tx.ctx, dest, args...)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// all reads every row into dest, a pointer to a slice.
func (tx *tx) all(dest any, query string, args ...any) error {
	return tx.stmt(query).SelectContext(tx.ctx, dest, args...)
}

func (tx *tx) exec(query string, args ...any) error {
	_, err := tx.count(query, args...)
	return err
}

// count is exec, and returns how many rows the query has changed.
func (tx *tx) count(query string, args ...any) (int64, error) {
	result, err := tx.stmt(query).ExecContext(tx.ctx, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// execRow runs a query that takes its arguments from the row, and returns how
// many rows it has changed.
func (tx *tx) execRow(query string, row any) (int64, error) {
	stmt, ok := tx.named[query]
	if !ok {
		stmt = tx.sql.NamedStmtContext(tx.ctx, tx.from.named[query])
		tx.named[query] = stmt
	}
	result, err := stmt.ExecContext(tx.ctx, row)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}
