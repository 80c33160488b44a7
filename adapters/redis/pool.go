// Package redis is the queue on Redis, a list for every queue and priority, and the
// signals, one channel: hints only. Nothing in it is needed to have no task lost.
// It needs Redis 7.0.
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
	maxConnections = 32              // for calls; more callers wait
	maxWaiting     = 8               // idle connections for pulls that are kept
	idleCheck      = time.Second     // a connection that was idle for longer is tried first
	idleLimit      = 5 * time.Minute // and after this it is closed
	dialPause      = 100 * time.Millisecond
	probeTimeout   = 2 * time.Second
)

var errClosed = errors.New("the pool is closed")

// Pool has the connections to one Redis. Calls share a bounded number; pulls,
// which wait for long, have connections of their own, so that they keep nobody
// waiting. It is safe for concurrent use.
type Pool struct {
	target target
	calls  *redigo.Pool

	mu       sync.Mutex
	waiting  []*conn // idle, for pulls
	closed   bool
	failed   error // why the last dialing failed
	failedAt time.Time
}

// Open makes a Pool, and what closes it. It does not connect. Its error says
// what is wrong with cfg, and gives no secret away.
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

// do runs one command that does not wait. It takes no longer than the call
// timeout, with the wait for a connection.
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

// dial connects, in half the time that a call has. Just after a failure it fails the same way at once: a Redis that
// is away is not asked by every caller.
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
		if endOf(ctx) == nil { // else the caller gave up, and nothing is known of Redis
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

// takeWaiting returns a connection for a pull; its id is known.
func (p *Pool) takeWaiting(ctx context.Context) (*conn, error) {
	p.mu.Lock()
	if n := len(p.waiting); n > 0 {
		c := p.waiting[n-1]
		p.waiting = p.waiting[:n-1]
		p.mu.Unlock()
		return c, nil
	}
	p.mu.Unlock()
	c, err := p.dial(ctx)
	if err != nil {
		return nil, err
	}
	if c.id, err = redigo.Int64(redigo.DoContext(c, ctx, "CLIENT", "ID")); err != nil {
		_ = c.Close() // err says what there is to say
		return nil, err
	}
	return c, nil
}

// giveWaiting takes back a connection on which no answer is outstanding.
func (p *Pool) giveWaiting(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || c.Err() != nil || len(p.waiting) >= maxWaiting {
		_ = c.Close() // it is of no use any more
		return
	}
	p.waiting = append(p.waiting, c)
}

// close closes what is idle; what is in use is closed when it is given back.
func (p *Pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, c := range p.waiting {
		_ = c.Close() // there is nobody to tell
	}
	p.waiting = nil
	_ = p.calls.Close() // it never fails
}

// conn is a connection that is used no longer once its server has become a
// replica: the next one may lead to the new master.
type conn struct {
	redigo.Conn
	id      int64 // the server's name for it; 0 if it was not asked
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

// doWithin runs a command that may take so long.
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
