package sqlite

import (
	"context"
	"sync"

	"github.com/jmoiron/sqlx"
)

// reads are what is read outside of any transaction, prepared once: to parse such a
// query takes longer than to run it.
type reads struct {
	mu    sync.Mutex
	stmts map[string]*sqlx.Stmt // by query
}

// read runs a query whose text never changes, and reads every row into dest, a
// pointer to a slice.
func (db *DB) read(ctx context.Context, dest any, query string, args ...any) error {
	if err := db.file.check(); err != nil {
		return err
	}
	stmt, err := db.reading(ctx, query)
	if err != nil {
		return db.translate(err)
	}
	return db.translate(stmt.SelectContext(ctx, dest, args...))
}

// readUpTo is read for rows of tasks, which it reads up to so many bytes; see readUpTo.
func (db *DB) readUpTo(ctx context.Context, bytes int, query string, args ...any) (found []*taskRow, full bool, err error) {
	if err := db.file.check(); err != nil {
		return nil, false, err
	}
	stmt, err := db.reading(ctx, query)
	if err != nil {
		return nil, false, db.translate(err)
	}
	rows, err := stmt.QueryxContext(ctx, args...)
	if err != nil {
		return nil, false, db.translate(err)
	}
	found, full, err = readUpTo(rows, bytes)
	return found, full, db.translate(err)
}

// reading is the prepared query; it lasts as long as the reading connections do.
func (db *DB) reading(ctx context.Context, query string) (*sqlx.Stmt, error) {
	db.reads.mu.Lock()
	stmt := db.reads.stmts[query]
	db.reads.mu.Unlock()
	if stmt != nil {
		return stmt, nil
	}
	stmt, err := db.reader.PreparexContext(ctx, query)
	if err != nil {
		return nil, err
	}
	db.reads.mu.Lock()
	defer db.reads.mu.Unlock()
	if other := db.reads.stmts[query]; other != nil {
		return other, stmt.Close()
	}
	db.reads.stmts[query] = stmt
	return stmt, nil
}
