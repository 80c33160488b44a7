package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/jmoiron/sqlx"

	"github.com/millrace/millrace/adapters/postgres/internal/pgconn"
	"github.com/millrace/millrace/domain"
)

// Config says which database to use and how.
type Config = pgconn.Config

// beatConns is how many connections are kept for heartbeats. One beat does not
// wait for the one before it.
const beatConns = 2

// DB is two pools of connections to one database: heartbeats have their own, as
// no queue of calls and no stalled one may cost a worker its lease. It is safe for
// concurrent use.
type DB struct {
	cfg    Config
	calls  pool // all but heartbeats
	beats  pool
	shared shared
	proven atomic.Value // time.Time: when a write was last proven
}

// pool is a pool of connections that also sweeps; see sweep.go.
type pool struct{ *pgconn.Pool }

// Open checks cfg and makes the pools. It does not connect: that happens with the
// first call, and again whenever the server was away. The cleanup waits
// for the writes that are under way and closes the pools.
func Open(cfg Config) (*DB, func(), error) {
	cfg = cfg.WithDefaults()
	pools, err := pgconn.Open(cfg, cfg.MaxConns, beatConns)
	if err != nil {
		return nil, nil, err
	}
	db := &DB{cfg: cfg, calls: pool{pools[0]}, beats: pool{pools[1]}}
	db.shared = newShared(db.calls, cfg.CallTimeout)
	return db, func() {
		db.shared.close()
		db.calls.Close()
		db.beats.Close()
	}, nil
}

// The pauses between the tries to write a row that somebody else has locked.
const (
	firstLockPause = 10 * time.Millisecond
	lastLockPause  = 500 * time.Millisecond
)

// untilFree tries to write a row until it is done, with pauses that grow: it is not
// done as long as somebody else has the row locked. A lock that lasts for longer than
// the call timeout is an outage of this row.
func (db *DB) untilFree(ctx context.Context, what string, try func() (done bool, err error)) error {
	locked := pgconn.Outage(fmt.Errorf("another transaction has locked %s for %s", what, db.cfg.CallTimeout))
	waits := backoff.NewExponentialBackOff()
	waits.InitialInterval, waits.MaxInterval = firstLockPause, lastLockPause
	waits.Multiplier, waits.RandomizationFactor = 2, 0
	var failed error
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		var done bool
		switch done, failed = try(); {
		case failed != nil:
			return struct{}{}, backoff.Permanent(failed)
		case !done:
			return struct{}{}, locked
		}
		return struct{}{}, nil
	}, backoff.WithBackOff(waits), backoff.WithMaxElapsedTime(db.cfg.CallTimeout))
	if failed != nil {
		return failed
	}
	return pgconn.Translate(err) // nil, locked, or that of ctx
}

// Probe reports whether the server answers, has the schema that this program needs, as
// CheckSchema does, and takes writes, within Limits.Probe. Whatever keeps it from that is
// an outage.
func (db *DB) Probe(ctx context.Context) error {
	return db.probe(ctx, func(ctx context.Context) error {
		err := CheckSchema(ctx, db)
		if err == nil {
			err = db.proveWrites(ctx)
		}
		if pgconn.SQLState(err) != "" && !errors.Is(err, domain.ErrUnavailable) {
			err = pgconn.Outage(err)
		}
		return err
	})
}

// proveWriteSQL inserts no row into tasks, which needs the right to, a server that is not
// read-only and a table that nobody has locked, and writes an empty record to the log of
// the server, whose commit is flushed, and confirmed by a synchronous standby. It leaves
// no dead row.
const proveWriteSQL = `WITH none AS (INSERT INTO tasks SELECT * FROM tasks WHERE false RETURNING 1)
SELECT (SELECT count(*) FROM none) FROM pg_logical_emit_message(true, 'millrace', '')`

// provenFor is how long a proof serves later probes, so that many who ask cost one flush.
const provenFor = 2 * time.Second

// proveWrites proves that the server takes writes. That its disk has room for more rows
// is known by those who write them.
func (db *DB) proveWrites(ctx context.Context) error {
	if last, ok := db.proven.Load().(time.Time); ok && time.Since(last) < provenFor {
		return nil
	}
	var none int
	if err := db.calls.Read(ctx, func(ctx context.Context, q sqlx.QueryerContext) error {
		return sqlx.GetContext(ctx, q, &none, proveWriteSQL)
	}); err != nil {
		return fmt.Errorf("prove that the database takes writes: %w", err)
	}
	db.proven.Store(time.Now())
	return nil
}

// probe leaves ask behind when the time is up: a stalled link holds its caller for
// CallTimeout, which may be longer.
func (db *DB) probe(ctx context.Context, ask func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, db.cfg.Limits().Probe)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- ask(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return pgconn.Translate(ctx.Err())
	}
}
