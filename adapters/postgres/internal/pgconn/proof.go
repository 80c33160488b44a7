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
// as PgBouncer may give it another connection to the server for each transaction. It
// returns an UnfitError if not, and reports whether there is such a pool.
func (p *Pool) ProvePrepared(ctx context.Context) (pooled bool, err error) {
	p.dropIdle() // the names of two new connections are the same
	var clients [2]prover
	for i := range clients {
		c, err := p.Acquire(ctx)
		if err != nil {
			return false, Translate(err)
		}
		defer c.Close()
		clients[i] = prover{conn: c, number: i, pids: map[int]bool{}}
	}
	err = prove(context.WithoutCancel(ctx), &clients[0], &clients[1])
	if outlived(err) || errors.Is(err, errAnothers) {
		return true, &UnfitError{Want: "the URL of a pool that keeps prepared statements from one transaction to the next (its answer: " + err.Error() +
			"): set max_prepared_statements of PgBouncer 1.21 or later to 100 or more, or pool_mode to session"}
	}
	return len(clients[0].pids) > 1 || len(clients[1].pids) > 1, Translate(err)
}

var errAnothers = errors.New("a statement of another client was executed")

// prover is a client of the proof. Its statement answers its number.
type prover struct {
	conn   *sqlx.Conn
	number int
	pids   map[int]bool // of the connections to the server
}

func (c *prover) run(ctx context.Context, q sqlx.QueryerContext) error {
	var got struct{ Number, PID int }
	query := Prepared(fmt.Sprintf("SELECT %d AS number, pg_backend_pid() AS pid", c.number))
	if err := query.Get(ctx, q, &got); err != nil {
		return err
	}
	if got.Number != c.number {
		return errAnothers
	}
	c.pids[got.PID] = true
	return nil
}

// prove runs statements of two clients in turn: first by themselves, then one client's
// while the other holds a connection to the server, and then by themselves again.
func prove(ctx context.Context, a, b *prover) error {
	for range 2 {
		if err := errors.Join(a.run(ctx, a.conn), b.run(ctx, b.conn)); err != nil {
			return err
		}
	}
	tx, err := b.conn.BeginTxx(ctx, nil)
	if err != nil {
		return err
	}
	if err := b.run(ctx, tx); err != nil {
		_ = tx.Rollback() // the first error is the one that counts
		return err
	}
	done := make(chan error, 1)
	go func() { done <- a.run(ctx, a.conn) }()
	select {
	case err = <-done:
		done <- err
	case <-time.After(proofWait): // the pool has one connection to the server
	}
	return errors.Join(tx.Commit(), <-done, b.run(ctx, b.conn), a.run(ctx, a.conn))
}
