package pgconn

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// maxPrepared bounds the statements that a connection keeps prepared.
const maxPrepared = 100

// preparedMark begins the text of every Stmt. The text is all of a statement that
// database/sql hands on to a connection.
const preparedMark = "/* prepared */ "

// Stmt is a statement that each connection prepares once: for those that run often,
// and that are to be planned the same way whatever their arguments.
//
// Under a context that may be canceled it runs like any other: the driver would go on
// with the connection, and its cancel request could hit the statement after, which
// may be a write.
type Stmt struct{ text string }

// Prepared makes a Stmt of a query.
func Prepared(query string) Stmt { return Stmt{preparedMark + query} }

// String is the text, as the server sees it.
func (s Stmt) String() string { return s.text }

// Select is sqlx.SelectContext.
func (s Stmt) Select(ctx context.Context, q sqlx.QueryerContext, dest any, args ...any) error {
	return sqlx.SelectContext(ctx, q, dest, s.text, args...)
}

// Each calls scan with each row that the statement returns, until that is an error. It
// spares those who read many rows the reflection of Select.
func (s Stmt) Each(ctx context.Context, q sqlx.QueryerContext, scan func(row *sql.Rows) error, args ...any) error {
	rows, err := q.QueryContext(ctx, s.text, args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Get is sqlx.GetContext.
func (s Stmt) Get(ctx context.Context, q sqlx.QueryerContext, dest any, args ...any) error {
	return sqlx.GetContext(ctx, q, dest, s.text, args...)
}

// Exec runs the statement for what it changes.
func (s Stmt) Exec(ctx context.Context, x sqlx.ExecerContext, args ...any) error {
	_, err := x.ExecContext(ctx, s.text, args...)
	return err
}

// toPrepare reports whether the query is a Stmt that this context lets a connection
// prepare.
func toPrepare(ctx context.Context, query string) bool {
	return strings.HasPrefix(query, preparedMark) && ctx.Done() == nil
}

// pqConn and pqStmt are what lib/pq makes, as far as database/sql asks for it.
type (
	pqConn interface {
		driver.Conn
		driver.ConnPrepareContext
		driver.ConnBeginTx
		driver.ExecerContext
		driver.QueryerContext
		driver.Pinger
		driver.NamedValueChecker
		driver.SessionResetter
		driver.Validator
	}
	pqStmt interface {
		driver.Stmt
		driver.StmtExecContext
		driver.StmtQueryContext
	}
)

// preparingConn is a connection with the statements that it has prepared.
type preparingConn struct {
	pqConn
	statements map[string]pqStmt // by their text

	pool   *connector
	link   *link
	used   time.Time // when it was last in use
	ended  bool      // by the server
	closed sync.Once
}

// BeginTx begins a transaction that may write if the server lets others write: lib/pq
// would say READ WRITE, which overrides default_transaction_read_only.
func (c *preparingConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	if opts == (driver.TxOptions{}) {
		return c.Begin() // deprecated, and the only way to say neither
	}
	return c.pqConn.BeginTx(ctx, opts)
}

func (c *preparingConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if !toPrepare(ctx, query) {
		return c.pqConn.ExecContext(ctx, query, args)
	}
	s, err := c.statement(ctx, query)
	if err != nil {
		return nil, err
	}
	res, err := s.ExecContext(ctx, args)
	c.forgetIf(outlived(err))
	return res, err
}

func (c *preparingConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if !toPrepare(ctx, query) {
		return c.pqConn.QueryContext(ctx, query, args)
	}
	s, err := c.statement(ctx, query)
	if err != nil {
		return nil, err
	}
	rows, err := s.QueryContext(ctx, args)
	c.forgetIf(outlived(err))
	return rows, err
}

func (c *preparingConn) statement(ctx context.Context, query string) (pqStmt, error) {
	if s, ok := c.statements[query]; ok {
		return s, nil
	}
	for text, s := range c.statements { // any of them: that many are not in use at once
		if len(c.statements) < maxPrepared {
			break
		}
		delete(c.statements, text)
		if err := s.Close(); err != nil {
			return nil, err
		}
	}
	made, err := c.PrepareContext(ctx, query)
	if err != nil { // the next try has another name
		return nil, err
	}
	s, ok := made.(pqStmt)
	if !ok {
		return nil, fmt.Errorf("the driver's statement is a %T", made)
	}
	c.statements[query] = s
	return s, nil
}

// forgetIf has all statements prepared anew. The old ones stay with the server, for
// as long as the connection: the transaction may be in no state to remove them.
func (c *preparingConn) forgetIf(outlived bool) {
	if outlived {
		clear(c.statements)
	}
}

// outlived reports whether a prepared statement is of no more use: the schema has
// changed what it returns, or the server does not have it, or has another of its name,
// as behind a pool that shares out its connections. Nothing was done.
func outlived(err error) bool {
	e, ok := errors.AsType[*pq.Error](err)
	return ok && (e.Code == codeNoStatement || e.Code == codeDoubledStatement ||
		e.Code == codeNotSupported && e.Routine == "RevalidateCachedQuery")
}
