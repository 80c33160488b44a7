package postgres

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

const probeTimeout = 2 * time.Second

// DB is a pool of connections to one database. It is safe for concurrent use.
type DB struct {
	x   *sqlx.DB
	cfg Config
}

// Open checks cfg and makes the pool. It does not connect: that happens with the
// first call, and again whenever the server was away. The cleanup closes the pool.
func Open(cfg Config) (*DB, func(), error) {
	cfg = cfg.withDefaults()
	dc, err := cfg.driverConfig()
	if err != nil {
		return nil, nil, err
	}
	connector, err := pq.NewConnectorConfig(dc)
	if err != nil {
		return nil, nil, fmt.Errorf("postgres: %w", err)
	}
	connector.Dialer(dialer{timeout: cfg.CallTimeout})
	pool := sql.OpenDB(connector)
	pool.SetMaxOpenConns(cfg.MaxConns)
	pool.SetMaxIdleConns(cfg.MaxConns)
	pool.SetConnMaxIdleTime(5 * time.Minute)
	return &DB{x: sqlx.NewDb(pool, "postgres"), cfg: cfg}, func() { _ = pool.Close() }, nil
}

// Probe reports whether the server answers, within two seconds.
func (db *DB) Probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	done := make(chan error, 1) // a stalled link holds its caller for CallTimeout, which may be longer
	go func() { done <- translate(db.x.PingContext(ctx)) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return translate(ctx.Err())
	}
}

// read runs a query that changes nothing. It may be repeated on another
// connection, and a cancel request does no harm: ctx ends it early unless the
// link is stalled, which takes CallTimeout.
func (db *DB) read(ctx context.Context, query func(ctx context.Context, q sqlx.QueryerContext) error) error {
	ctx, cancel := context.WithTimeout(ctx, db.cfg.CallTimeout)
	defer cancel()
	return translate(query(ctx, db.x))
}

// write runs one statement or one transaction that changes something, on a
// connection of its own. ctx ends the wait for that connection and for another
// try; once the change is under way, it is waited for. A deadlock or a
// serialization failure, after which nothing is changed, is tried again.
func (db *DB) write(ctx context.Context, change func(ctx context.Context, c *sqlx.Conn) error) error {
	waits := backoff.NewExponentialBackOff()
	waits.InitialInterval, waits.MaxInterval = 10*time.Millisecond, 500*time.Millisecond
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := db.once(ctx, change)
		if err != nil && !retryable(err) {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(waits), backoff.WithMaxTries(6), backoff.WithMaxElapsedTime(db.cfg.CallTimeout))
	return translate(err)
}

func (db *DB) once(ctx context.Context, change func(ctx context.Context, c *sqlx.Conn) error) error {
	c, err := db.acquire(ctx)
	if err != nil {
		return err
	}
	err = change(context.WithoutCancel(ctx), c)
	if unavailable(err) {
		db.discard(c)
		return err
	}
	_ = c.Close() // back to the pool
	return err
}

// acquire waits for a connection, at most for CallTimeout. Whatever keeps the
// server from giving one, short of refusing who we are, is an outage.
func (db *DB) acquire(ctx context.Context) (*sqlx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, db.cfg.CallTimeout)
	defer cancel()
	c, err := db.x.Connx(ctx)
	if err != nil && !refused(err) && !errors.Is(err, context.Canceled) {
		err = outage(err)
	}
	return c, err
}

// discard throws the connection away, and with it all that are idle: they lead
// to the same server, which has restarted, or become a standby, or cannot be reached.
func (db *DB) discard(c *sqlx.Conn) {
	_ = c.Raw(func(any) error { return driver.ErrBadConn })
	_ = c.Close()
	db.x.SetMaxIdleConns(0)
	db.x.SetMaxIdleConns(db.cfg.MaxConns)
}

// transact runs body in a transaction on c.
func transact(ctx context.Context, c *sqlx.Conn, body func(tx *sqlx.Tx) error) error {
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
