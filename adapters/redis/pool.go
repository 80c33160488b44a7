// Package redis is the queue on Redis, one list a lane, and the signals, one channel.
// All of it is hints: losing it loses no task. It needs Redis 7.0.
package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	redigo "github.com/gomodule/redigo/redis"

	"github.com/millrace/millrace/application"
)

var _ application.Probe = (*Pool)(nil)

const (
	maxConnections  = 32              // for calls; more callers wait
	maxIdleBlocking = 8               // idle connections for pulls that are kept
	idleCheck       = time.Second     // a connection that was idle for longer is checked first
	idleLimit       = 5 * time.Minute // and after this it is closed
	dialPause       = 100 * time.Millisecond
	probeTimeout    = 2 * time.Second
)

var errClosed = errors.New("the pool is closed")

// Pool has the connections to one Redis. Calls share a bounded number; pulls, which block
// for long, have connections of their own, so that no call waits for them. It is safe for
// concurrent use.
type Pool struct {
	target target
	calls  *redigo.Pool

	mu       sync.Mutex
	blocking []*conn // idle, for pulls
	closed   bool
	failed   error // why the last dialing failed
	failedAt time.Time
}

// Open makes a Pool and the function that closes it. It does not connect. Its error says
// what is wrong with cfg, and shows no secret.
func Open(cfg Config) (*Pool, func(), error) {
	target, err := cfg.parse()
	if err != nil {
		return nil, nil, err
	}
	p := &Pool{target: target}
	p.target.options = append(p.target.options, redigo.DialContextFunc(p.connect))
	p.calls = &redigo.Pool{
		DialContext: func(ctx context.Context) (redigo.Conn, error) { return p.dial(ctx) },
		TestOnBorrowContext: func(ctx context.Context, c redigo.Conn, lastUsed time.Time) error {
			if time.Since(lastUsed) < idleCheck {
				return nil
			}
			_, err := redigo.DoContext(c, ctx, "PING")
			return err
		},
		MaxIdle: maxConnections, MaxActive: maxConnections, IdleTimeout: idleLimit, Wait: true,
	}
	return p, p.close, nil
}

// Probe tells whether Redis answers, within 2 seconds.
func (p *Pool) Probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	if _, err := p.do(ctx, "PING"); err != nil {
		return fmt.Errorf("ping: %w", err)
	}
	return nil
}

// key is the full name of a key.
func (p *Pool) key(name string) string { return p.target.prefix + name }

// do runs one command that does not block. The call timeout bounds it together with the
// wait for a connection.
func (p *Pool) do(ctx context.Context, command string, args ...any) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, p.target.timeout)
	defer cancel()
	c, err := p.calls.GetContext(ctx)
	if err != nil {
		return nil, translate(err)
	}
	defer c.Close()
	reply, err := redigo.DoContext(c, ctx, command, args...)
	return reply, translate(err)
}

// dial connects, within half the call timeout. Just after a failure it returns the same
// error at once, so that not every caller dials a Redis that is away.
func (p *Pool) dial(ctx context.Context) (*conn, error) {
	p.mu.Lock()
	err := p.failed
	if p.closed {
		err = errClosed
	} else if time.Since(p.failedAt) > dialPause {
		err = nil
	}
	p.mu.Unlock()
	if err != nil {
		return nil, err
	}
	dialCtx, cancel := context.WithTimeout(ctx, p.target.timeout/2)
	defer cancel()
	c, err := redigo.DialContext(dialCtx, "tcp", p.target.address, p.target.options...)
	if err != nil {
		if contextErr(ctx) == nil { // else the caller gave up, and nothing is known of Redis
			p.mu.Lock()
			p.failed, p.failedAt = err, time.Now()
			p.mu.Unlock()
		}
		return nil, err
	}
	return &conn{Conn: c}, nil
}

// connect makes the network connection; a handshake of TLS ends with ctx as well.
func (p *Pool) connect(ctx context.Context, network, address string) (net.Conn, error) {
	if p.target.tls == nil {
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	return (&tls.Dialer{Config: p.target.tls}).DialContext(ctx, network, address)
}

// acquireBlocking returns a connection for a pull, with its id.
func (p *Pool) acquireBlocking(ctx context.Context) (*conn, error) {
	p.mu.Lock()
	if n := len(p.blocking); n > 0 {
		c := p.blocking[n-1]
		p.blocking = p.blocking[:n-1]
		p.mu.Unlock()
		return c, nil
	}
	p.mu.Unlock()
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

// releaseBlocking keeps a connection for the next pull. No reply may be outstanding on it.
func (p *Pool) releaseBlocking(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || c.Err() != nil || len(p.blocking) >= maxIdleBlocking {
		_ = c.Close() // it is not kept
		return
	}
	p.blocking = append(p.blocking, c)
}

// close closes idle connections; those in use are closed when they are released.
func (p *Pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, c := range p.blocking {
		_ = c.Close() // a failure changes nothing
	}
	p.blocking = nil
	_ = p.calls.Close() // it never fails
}

// conn is a connection that is not used again once its server has become a replica: the
// next one may reach the new master.
type conn struct {
	redigo.Conn
	id      int64 // CLIENT ID; 0 if the server was not asked
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
