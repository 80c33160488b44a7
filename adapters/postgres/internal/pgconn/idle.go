package pgconn

import (
	"context"
	"database/sql/driver"
	"time"
)

// idleTrust is how long a connection may be idle before it has to answer a ping. What
// lies between, such as a load balancer, may have dropped it without a word.
const idleTrust = 10 * time.Second

// IsValid reports whether the connection may go back to the pool.
func (c *preparingConn) IsValid() bool {
	c.used = time.Now()
	return c.pqConn.IsValid()
}

// ResetSession looks at a connection that was idle, before it is used: the first call
// after a quiet time, or after the server was restarted, is not to fail for it.
func (c *preparingConn) ResetSession(ctx context.Context) error {
	if err := c.pqConn.ResetSession(ctx); err != nil {
		return err
	}
	if !c.link.quiet() {
		c.ended = true
		return driver.ErrBadConn
	}
	if time.Since(c.used) < idleTrust {
		return nil
	}
	if suspect := c.pool.suspect.Load(); suspect != nil && c.used.Before(*suspect) {
		return driver.ErrBadConn
	}
	began := time.Now()
	c.link.boundUntil(began.Add(c.pool.limits.Ping))
	defer c.link.boundUntil(time.Time{})
	if err := c.pqConn.Ping(context.WithoutCancel(ctx)); err != nil { // a caller who leaves does not cut it short
		c.pool.suspect.Store(&began)
		return driver.ErrBadConn
	}
	return nil
}

// Close closes the connection, and gives back its session.
func (c *preparingConn) Close() error {
	err := c.pqConn.Close()
	c.closed.Do(func() { c.pool.release(c.endsWithin()) })
	return err
}

// endsWithin is how long the server may take to end the session of a connection that is
// closed. After a stall it has to find by itself that its client is gone.
func (c *preparingConn) endsWithin() time.Duration {
	switch {
	case c.ended:
		return 0
	case c.link.stalled.Load():
		return c.pool.limits.Orphan + orphanGrace
	}
	return closeGrace
}
