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

// beatConns is how many connections are kept for heartbeats. One beat does not
// wait for the one before it.
const beatConns = 2

// DB is two pools of connections to one database: heartbeats have their own, as
// no queue of calls and no stalled one may cost a worker its lease. It is safe for
// concurrent use.
type DB struct {
	pool
	beats  pool
	shared shared
}

// pool is at most max connections.
type pool struct {
	x        *sqlx.DB
	cfg      Config
	max      int
	dropIdle func() // of every pool of the DB
}

// Open checks cfg and makes the pools. It does not connect: that happens with the
// first call, and again whenever the server was away. The cleanup waits
// for the writes that are under way and closes the pools.
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
	db := &DB{pool: newPool(preparing{connector}, cfg, cfg.MaxConns), beats: newPool(preparing{connector}, cfg, beatConns)}
	db.dropIdle = func() {
		for _, p := range []*pool{&db.pool, &db.beats} {
			p.x.SetMaxIdleConns(0)
			p.x.SetMaxIdleConns(p.max)
		}
	}
	db.beats.dropIdle = db.dropIdle
	db.shared = newShared(&db.pool)
	return db, func() {
		db.shared.close()
		_, _ = db.x.Close(), db.beats.x.Close()
	}, nil
}

func newPool(connector driver.Connector, cfg Config, size int) pool {
	conns := sql.OpenDB(connector)
	conns.SetMaxOpenConns(size)
	conns.SetMaxIdleConns(size)
	conns.SetConnMaxIdleTime(5 * time.Minute)
	return pool{x: sqlx.NewDb(conns, "postgres"), cfg: cfg, max: size}
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
//
// A caller who gives up is no outage, though the server says 57014 for both.
func (p *pool) read(caller context.Context, query func(ctx context.Context, q sqlx.QueryerContext) error) error {
	ctx, cancel := context.WithTimeout(caller, p.cfg.CallTimeout)
	defer cancel()
	err := query(ctx, p.x)
	if err != nil && errors.Is(caller.Err(), context.Canceled) {
		return fmt.Errorf("postgres: %w", caller.Err())
	}
	return translate(err)
}

// write runs one statement or one transaction that changes something, on a
// connection of its own. ctx ends the wait for that connection and for another
// try; once the change is under way, it is waited for. A deadlock or a
// serialization failure, after which nothing is changed, is tried again.
func (p *pool) write(ctx context.Context, change func(ctx context.Context, c *sqlx.Conn) error) error {
	waits := backoff.NewExponentialBackOff()
	waits.InitialInterval, waits.MaxInterval = 10*time.Millisecond, 500*time.Millisecond
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := p.once(ctx, change)
		if err != nil && !retryable(err) {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(waits), backoff.WithMaxTries(6), backoff.WithMaxElapsedTime(p.cfg.CallTimeout))
	return translate(err)
}

// delete runs one statement that removes rows, and returns how many they were.
func (p *pool) delete(ctx context.Context, query string, args ...any) (int, error) {
	var gone int64
	err := p.write(ctx, func(ctx context.Context, c *sqlx.Conn) error {
		res, err := c.ExecContext(ctx, query, args...)
		if err != nil {
			return err
		}
		gone, err = res.RowsAffected()
		return err
	})
	return int(gone), err
}

func (p *pool) once(ctx context.Context, change func(ctx context.Context, c *sqlx.Conn) error) error {
	c, err := p.acquire(ctx)
	if err != nil {
		return err
	}
	err = change(context.WithoutCancel(ctx), c)
	if unavailable(err) {
		p.discard(c)
		return err
	}
	_ = c.Close() // back to the pool
	return err
}

// acquire waits for a connection, at most for CallTimeout. Whatever keeps the
// server from giving one, short of refusing who we are, is an outage.
func (p *pool) acquire(ctx context.Context) (*sqlx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.CallTimeout)
	defer cancel()
	c, err := p.x.Connx(ctx)
	if err != nil && !refused(err) && !errors.Is(err, context.Canceled) {
		err = outage(err)
	}
	return c, err
}

// discard throws the connection away, and with it all that are idle, of both
// pools: they lead to the same server, which has restarted, or become a standby, or
// cannot be reached. A pool that only reads would not find that out by itself.
func (p *pool) discard(c *sqlx.Conn) {
	_ = c.Raw(func(any) error { return driver.ErrBadConn })
	_ = c.Close()
	p.dropIdle()
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
