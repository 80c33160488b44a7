package postgres

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/sync/singleflight"

	"github.com/millrace/millrace/adapters/postgres/internal/pgconn"
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
	roomy  atomic.Value // time.Time: when the disk was last seen to have room

	probing singleflight.Group

	schemaSeen atomic.Bool // the schema was right when it was last looked at
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
	db.shared = newShared(db.calls, cfg)
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
	locked := pgconn.OutageBecause(fmt.Sprintf("%s could not be written for %s: another transaction has locked it, or a trigger leaves it out", what, db.cfg.CallTimeout))
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
