package redis

import (
	"context"
	"errors"
	"net"
	"time"

	redigo "github.com/gomodule/redigo/redis"
)

var errClosedByPeer = errors.New("the server has closed the idle connection")

// conn is a connection that is not used again once its server has become a replica: the
// next one may reach the new master.
type conn struct {
	redigo.Conn
	socket  net.Conn
	id      int64     // CLIENT ID; 0 if the server was not asked
	used    time.Time // when a pull has released it
	replica error
}

// Err is not nil if the connection must not be used again.
func (c *conn) Err() error {
	if c.replica != nil {
		return c.replica
	}
	return c.Conn.Err()
}

// DoContext runs a command; it is what redigo's pool calls.
func (c *conn) DoContext(ctx context.Context, command string, args ...any) (any, error) {
	reply, err := redigo.DoContext(c.Conn, ctx, command, args...)
	if replies, ok := reply.([]any); ok && command == "" { // a pipeline
		for _, reply := range replies {
			if err, ok := reply.(redigo.Error); ok {
				_ = c.note(err)
			}
		}
	}
	return reply, c.note(err)
}

// ReceiveContext completes redigo.ConnWithContext.
func (c *conn) ReceiveContext(ctx context.Context) (any, error) {
	reply, err := redigo.ReceiveContext(c.Conn, ctx)
	return reply, c.note(err)
}

// doWithin runs a command that may take as long as limit.
func (c *conn) doWithin(limit time.Duration, command string, args ...any) (any, error) {
	reply, err := redigo.DoWithTimeout(c.Conn, limit, command, args...)
	return reply, c.note(err)
}

func (c *conn) note(err error) error {
	if answer, ok := errors.AsType[redigo.Error](err); ok && starts(answer, "READONLY") {
		c.replica = err
	}
	return err
}

// acquireBlocking returns a connection for a pull, with its id. One that was idle is
// looked at first, and pinged after a longer idle: servers, and balancers before them,
// close idle connections.
func (p *Pool) acquireBlocking(ctx context.Context) (*conn, error) {
	for c := p.idleBlocking(); c != nil; c = p.idleBlocking() {
		if !closedByPeer(c.socket) && (time.Since(c.used) < idleCheck || c.answers(ctx, p.target.limits.Ping)) {
			return c, nil
		}
		_ = c.Close() // nothing is known of it
	}
	c, err := p.dial(ctx)
	if err != nil {
		return nil, err
	}
	if c.id, err = redigo.Int64(redigo.DoContext(c, ctx, "CLIENT", "ID")); err != nil {
		_ = c.Close() // err is what matters
		return nil, err
	}
	return c, nil
}

// idleBlocking takes the connection that was released last; nil if there is none.
func (p *Pool) idleBlocking() *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.blocking)
	if n == 0 {
		return nil
	}
	c := p.blocking[n-1]
	p.blocking = p.blocking[:n-1]
	return c
}

// answers reports whether the server answers on the connection.
func (c *conn) answers(ctx context.Context, limit time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	_, err := redigo.DoContext(c, ctx, "PING")
	return err == nil
}

// releaseBlocking keeps a connection for the next pull. No reply may be outstanding on it.
func (p *Pool) releaseBlocking(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || c.Err() != nil || len(p.blocking) >= maxIdleBlocking {
		_ = c.Close() // it is not kept
		return
	}
	c.used = time.Now()
	p.blocking = append(p.blocking, c)
}
