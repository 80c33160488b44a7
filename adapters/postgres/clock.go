package postgres

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/millrace/millrace/adapters/postgres/internal/pgconn"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

var _ application.Clock = (*Clock)(nil)

const (
	syncEvery = 10 * time.Second
	// maxRoundTrip bounds the error of a sample: it is at most half of it.
	maxRoundTrip = 100 * time.Millisecond
)

// Clock tells the server's time, so that all processes that share a database
// agree: a monotonic clock of this machine and the distance between the two. The
// time of day of this machine plays no part. It is safe for concurrent use.
type Clock struct {
	db    *DB
	local LocalTime // only differences between its readings count
	last  atomic.Pointer[sample]
}

// sample says that when the local clock read local, the server's read server.
type sample struct {
	local, server time.Time
}

// LocalTime reads a local clock, which runs as fast as time passes and may be
// wrong by any amount. It is safe for concurrent use.
type LocalTime func() time.Time

// NewClock makes a clock that is to be synchronised before it is used. local is
// time.Now, except in tests.
func NewClock(db *DB, local LocalTime) *Clock { return &Clock{db: db, local: local} }

// Now returns the server's time: UTC, whole microseconds. It never blocks. Before
// the first successful Sync it is the local time.
func (c *Clock) Now() time.Time {
	now := c.local()
	if s := c.last.Load(); s != nil {
		now = s.server.Add(now.Sub(s.local)) // both readings are monotonic
	}
	return domain.Moment(now)
}

// Sync asks the server once (F. Cristian, "Probabilistic clock synchronization",
// 1989): its answer is taken to be from the middle of the round trip. A round trip
// over 100 ms says too little: it is an error, and the clock goes on as before.
func (c *Clock) Sync(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.db.cfg.CallTimeout)
	defer cancel()
	conn, err := c.db.calls.Acquire(ctx) // the wait for it is no part of the round trip
	if err != nil {
		return fmt.Errorf("read the server's clock: %w", pgconn.Translate(err))
	}
	defer func() { _ = conn.Close() }()
	s, err := c.take(ctx, conn)
	if err != nil {
		return fmt.Errorf("read the server's clock: %w", pgconn.Translate(err))
	}
	c.last.Store(&s)
	return nil
}

func (c *Clock) take(ctx context.Context, conn *sqlx.Conn) (sample, error) {
	var server time.Time
	sent := c.local()
	if err := conn.GetContext(ctx, &server, "SELECT clock_timestamp()"); err != nil {
		return sample{}, err
	}
	trip := c.local().Sub(sent)
	if trip < 0 || trip > maxRoundTrip {
		return sample{}, pgconn.Outage(fmt.Errorf("the round trip took %s, and over %s is too long", trip, maxRoundTrip))
	}
	return sample{local: sent.Add(trip / 2), server: server}, nil
}

// Run synchronises every 10 s until ctx ends. A sample that fails changes nothing.
func (c *Clock) Run(ctx context.Context) {
	tick := time.NewTicker(syncEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			_ = c.Sync(ctx) // the old distance is good for hours, and the next tick tries again
		}
	}
}
