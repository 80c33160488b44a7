package pgconn

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/jmoiron/sqlx"
)

// Pool is at most so many connections to one database. It is safe for concurrent use.
type Pool struct {
	SQL     *sqlx.DB
	timeout time.Duration
	limits  Limits
	max     int
	// Shortage is what the server has lacked for a write of any pool that Open made with
	// this one.
	Shortage *Shortage
	dropAll  func() // the idle connections of every pool that Open made with this one
}

// Open checks cfg, whose MaxConns it leaves to the caller, and makes pools of these
// sizes. It does not connect: that happens with the first call, and again whenever
// the server was away.
func Open(cfg Config, sizes ...int) ([]*Pool, error) {
	dc, err := cfg.driverConfig()
	if err != nil {
		return nil, err
	}
	server := newServer(dc, cfg.Limits())
	pools, shortage := make([]*Pool, len(sizes)), new(Shortage)
	dropAll := func() {
		for _, p := range pools {
			p.dropIdle()
		}
	}
	for i, size := range sizes {
		conns := openDB(&connector{server: server, sessions: make(chan struct{}, size)}, cfg.Traces)
		conns.SetMaxOpenConns(size)
		conns.SetMaxIdleConns(size)
		conns.SetConnMaxIdleTime(5 * time.Minute)
		pools[i] = &Pool{
			SQL: sqlx.NewDb(conns, "postgres"), timeout: cfg.CallTimeout, limits: server.limits, max: size, Shortage: shortage, dropAll: dropAll,
		}
	}
	return pools, nil
}

// Close closes the connections that are not in use, and the others as soon as they
// are free.
func (p *Pool) Close() { _ = p.SQL.Close() }

// Read runs a query that changes nothing. It may be repeated on another
// connection, and a cancel request does no harm: ctx ends it early unless the
// link is stalled, which takes CallTimeout.
//
// A caller who gives up is no outage, though the server says 57014 for both.
func (p *Pool) Read(caller context.Context, query func(ctx context.Context, q sqlx.QueryerContext) error) error {
	ctx, cancel := context.WithTimeout(caller, p.timeout)
	defer cancel()
	err := query(ctx, p.SQL)
	if err != nil && errors.Is(caller.Err(), context.Canceled) {
		return fmt.Errorf("postgres: %w", caller.Err())
	}
	if lost(err) { // the others are as old, and each would cost its caller as much time
		p.dropIdle()
	}
	if AboutData(err) { // nothing was to be written
		return fmt.Errorf("the database could not work out an answer: postgres: %w", err)
	}
	return Translate(err)
}

// Write runs one statement or one transaction that changes something, on a
// connection of its own. ctx ends the wait for that connection and for another
// try; once the change is under way, it is waited for. A deadlock or a
// serialization failure, after which nothing is changed, is tried again.
func (p *Pool) Write(ctx context.Context, change func(ctx context.Context, c *sqlx.Conn) error) error {
	waits := backoff.NewExponentialBackOff()
	waits.InitialInterval, waits.MaxInterval = 10*time.Millisecond, 500*time.Millisecond
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := p.once(ctx, change)
		if err != nil && !retryable(err) {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(waits), backoff.WithMaxTries(6), backoff.WithMaxElapsedTime(p.timeout))
	p.Shortage.note(err)
	return Translate(err)
}

// WriteBriefly runs a change that waits Briefly for the rows that others have locked. If
// one stays locked, nothing is done, and free runs instead, which waits for none. Behind
// the lock of a whole table both would wait for long: then the first one's error is all.
func (p *Pool) WriteBriefly(ctx context.Context, change, free func(ctx context.Context, c *sqlx.Conn) error) error {
	if locked, err := p.WriteUnlocked(ctx, change); !locked {
		return err
	}
	return p.Write(ctx, free)
}

// WriteUnlocked runs a change that waits Briefly for the rows that others have locked. It
// reports whether one has stayed locked: then nothing is done.
func (p *Pool) WriteUnlocked(ctx context.Context, change func(ctx context.Context, c *sqlx.Conn) error) (locked bool, err error) {
	begun := time.Now()
	err = p.Write(ctx, change)
	if p.RowLocked(err, begun) {
		return true, nil
	}
	return false, err
}

// RowLocked reports whether a statement that waits Briefly, and began then, has failed as
// somebody has locked a row. Behind the lock of a whole table it has waited for long.
func (p *Pool) RowLocked(err error, begun time.Time) bool {
	return Locked(err) && time.Since(begun) < p.limits.Lock/2
}

// Exec runs one statement that changes rows, and returns how many they were.
func (p *Pool) Exec(ctx context.Context, query string, args ...any) (int, error) {
	var rows int64
	err := p.Write(ctx, func(ctx context.Context, c *sqlx.Conn) error {
		res, err := c.ExecContext(ctx, query, args...)
		if err != nil {
			return err
		}
		rows, err = res.RowsAffected()
		return err
	})
	return int(rows), err
}

func (p *Pool) once(ctx context.Context, change func(ctx context.Context, c *sqlx.Conn) error) error {
	c, err := p.Acquire(ctx)
	if err != nil {
		return err
	}
	err = change(context.WithoutCancel(ctx), c)
	if lost(err) {
		p.discard(c, err)
		return err
	}
	_ = c.Close() // back to the pool
	return err
}

// Acquire waits for a connection, at most for CallTimeout. Whatever keeps the
// server from giving one, short of refusing who we are at the start, is an outage.
func (p *Pool) Acquire(ctx context.Context) (*sqlx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	c, err := p.SQL.Connx(ctx)
	if err != nil && !permanent(err) && !errors.Is(err, context.Canceled) {
		err = Outage(err)
	}
	return c, err
}

// discard throws the connection away, and with it all that are idle, of every
// pool: they lead to the same server, which has restarted, or become a standby, or
// cannot be reached. A pool that only reads would not find that out by itself.
//
// A call that took too long says nothing about the calls of other pools, and least of
// all about heartbeats.
func (p *Pool) discard(c *sqlx.Conn, err error) {
	_ = c.Raw(func(any) error { return driver.ErrBadConn })
	_ = c.Close()
	if timedOut(err) {
		p.dropIdle()
		return
	}
	p.dropAll()
}

func (p *Pool) dropIdle() {
	p.SQL.SetMaxIdleConns(0)
	p.SQL.SetMaxIdleConns(p.max)
}

// Transact runs body in a transaction on c.
func Transact(ctx context.Context, c *sqlx.Conn, body func(tx *sqlx.Tx) error) error {
	tx, err := c.BeginTxx(ctx, nil)
	if err != nil {
		return err
	}
	if err := body(tx); err != nil {
		_ = tx.Rollback() // body's error is the one that says why
		return err
	}
	return tx.Commit()
}
