package postgres

import (
	"context"
	"fmt"
	"log/slog"
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
	// samplesPerSync is how often the server is asked as long as the answers are slow.
	samplesPerSync = 3
	// goodError is small enough not to ask again, and slowError large enough for a
	// warning: people would notice.
	goodError, slowError = 10 * time.Millisecond, 50 * time.Millisecond
	// driftRate bounds how fast two clocks part: 500 parts in a million, as in NTP.
	driftRate = 2000 // 1/driftRate
)

// Clock tells the server's time, so that all processes that share a database
// agree: a monotonic clock of this machine and the distance between the two. The
// time of day of this machine plays no part. It is safe for concurrent use.
type Clock struct {
	db    *DB
	local LocalTime // only differences between its readings count
	log   *slog.Logger
	last  atomic.Pointer[sample]
	slow  atomic.Bool // and the log says so
	stale atomic.Bool // no answer for a while, and the log says so
}

// sample says that when the local clock read local, the server's read server, give or
// take err.
type sample struct {
	local, server time.Time
	err           time.Duration
}

// errorAt is how far off the sample may be at a later reading of the local clock.
func (s *sample) errorAt(local time.Time) time.Duration {
	return s.err + local.Sub(s.local)/driftRate
}

// at is the server's time at a reading of the local clock.
func (s *sample) at(local time.Time) time.Time { return s.server.Add(local.Sub(s.local)) }

// LocalTime reads a local clock, which runs as fast as time passes and may be
// wrong by any amount. It is safe for concurrent use.
type LocalTime func() time.Time

// NewClock makes a clock that is to be synchronised before it is used. local is
// time.Now, except in tests.
func NewClock(db *DB, local LocalTime, log *slog.Logger) *Clock {
	return &Clock{db: db, local: local, log: log}
}

// Now returns the server's time: UTC, whole microseconds. It never blocks. Before
// the first successful Sync it is the local time.
func (c *Clock) Now() time.Time {
	now := c.local()
	if s := c.last.Load(); s != nil {
		now = s.at(now) // both readings are monotonic
	}
	return domain.Moment(now)
}

// Sync asks the server for its time, a few times if the answers are slow (F. Cristian,
// "Probabilistic clock synchronization", 1989): an answer is taken to be from the
// middle of its round trip, and is wrong by at most half of it. An answer counts if it
// is better than the one before, whose error has grown with its age, or shows it to be
// wrong. A slow link is no error: it is logged once.
func (c *Clock) Sync(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.db.cfg.CallTimeout)
	defer cancel()
	conn, err := c.db.calls.Acquire(ctx) // the wait for it is no part of the round trip
	if err != nil {
		return fmt.Errorf("read the server's clock: %w", pgconn.Translate(err))
	}
	defer func() { _ = conn.Close() }()
	var best *sample
	for range samplesPerSync {
		s, err := c.take(ctx, conn)
		if err != nil && best == nil {
			return fmt.Errorf("read the server's clock: %w", pgconn.Translate(err))
		}
		if err == nil && (best == nil || s.err < best.err) {
			best = s
		}
		if err != nil || s.err <= goodError {
			break
		}
	}
	c.consider(best)
	c.tellOfLink(ctx, best)
	return nil
}

func (c *Clock) take(ctx context.Context, conn *sqlx.Conn) (*sample, error) {
	var server time.Time
	sent := c.local()
	if err := conn.GetContext(ctx, &server, "SELECT clock_timestamp()"); err != nil {
		return nil, err
	}
	half := max(0, c.local().Sub(sent)/2)
	return &sample{local: sent.Add(half), server: server, err: half}, nil
}

// consider keeps the better of two samples.
func (c *Clock) consider(s *sample) {
	old := c.last.Load()
	if old != nil {
		grown := old.errorAt(s.local)
		wrong := old.at(s.local).Sub(s.server).Abs() > grown+s.err // as after the machine was suspended
		if s.err > grown && !wrong {
			return
		}
	}
	c.last.Store(s)
}

// tellOfLink logs when the link has become too slow to read a time well, and when it is
// as it should be again.
func (c *Clock) tellOfLink(ctx context.Context, s *sample) {
	switch off := s.err; {
	case off > slowError && c.slow.CompareAndSwap(false, true):
		c.log.WarnContext(ctx, "the link to the database is slow", "round_trip", (2 * off).Round(time.Millisecond).String(),
			"times_may_be_wrong_by", c.last.Load().errorAt(s.local).Round(time.Millisecond).String())
	case off < slowError/2 && c.slow.CompareAndSwap(true, false):
		c.log.InfoContext(ctx, "the link to the database is fast again")
	}
}

// Run synchronises every 10 s until ctx ends. A sample that fails changes nothing: the
// old distance is good for hours. That they fail is logged once, and when they work again.
func (c *Clock) Run(ctx context.Context) {
	tick := time.NewTicker(syncEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			err := c.Sync(ctx)
			switch {
			case ctx.Err() != nil:
			case err != nil && c.stale.CompareAndSwap(false, true):
				c.log.WarnContext(ctx, "the database's clock cannot be read: its last reading stays in use", "error", err)
			case err == nil && c.stale.CompareAndSwap(true, false):
				c.log.InfoContext(ctx, "the database's clock can be read again")
			}
		}
	}
}
