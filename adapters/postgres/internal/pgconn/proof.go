package pgconn

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
)

// proofWait is how long a statement of the proof may wait for a connection of the
// server that the other client holds.
const proofWait = time.Second

// ProvePrepared proves that a connection keeps what it has prepared, though a pool such
// as PgBouncer gives it another connection to the server for each transaction. It
// returns an UnfitError if not.
func (p *Pool) ProvePrepared(ctx context.Context) error {
	p.dropIdle() // the names of two new connections are the same
	var conns [2]*sqlx.Conn
	for i := range conns {
		c, err := p.Acquire(ctx)
		if err != nil {
			return Translate(err)
		}
		defer c.Close()
		conns[i] = c
	}
	err := prove(conns[0], conns[1])
	if outlived(err) || errors.Is(err, errAnothers) {
		return &UnfitError{Want: "the URL of a pool that keeps prepared statements from one transaction to the next (it says: " + err.Error() +
			"): set max_prepared_statements of PgBouncer 1.21 or later to 100 or more, or pool_mode to session"}
	}
	return Translate(err)
}

var errAnothers = errors.New("a statement of another client was executed")

// prove runs statements of two clients in turn: first by themselves, then one client's
// while the other holds a connection to the server, and then by themselves again.
func prove(a, b *sqlx.Conn) error {
	for range 2 {
		for n, c := range []*sqlx.Conn{a, b} {
			if err := runPrepared(c, n); err != nil {
				return err
			}
		}
	}
	ctx := context.Background()
	tx, err := b.BeginTxx(ctx, nil)
	if err != nil {
		return err
	}
	if err := runPrepared(tx, 1); err != nil {
		_ = tx.Rollback() // the first error is the one that counts
		return err
	}
	done := make(chan error, 1)
	go func() { done <- runPrepared(a, 0) }()
	select {
	case err = <-done:
		done <- err
	case <-time.After(proofWait): // the pool has one connection to the server
	}
	return errors.Join(tx.Commit(), <-done, runPrepared(b, 1), runPrepared(a, 0))
}

// runPrepared runs the n-th statement, which answers n.
func runPrepared(q sqlx.QueryerContext, n int) error {
	var got int
	if err := Prepared(fmt.Sprintf("SELECT %d", n)).Get(context.Background(), q, &got); err != nil {
		return err
	}
	if got != n {
		return errAnothers
	}
	return nil
}
