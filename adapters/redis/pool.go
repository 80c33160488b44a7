// Package redis is the queue on Redis, one list a lane, and the signals, one channel.
// All of it is hints: losing it loses no task. It needs Redis 7.0.
package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
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
)

var errClosed = errors.New("the pool is closed")

// Pool has the connections to one Redis. Calls share a bounded number; pulls, which block
// for long, have connections of their own, so that no call waits for them. It is safe for
// concurrent use.
type Pool struct {
	target target
	prefix atomic.Pointer[string]
	named  chan struct{} // closed once the prefix is set
	calls  *redigo.Pool
	health *health

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
	p := &Pool{target: target, named: make(chan struct{}), health: newHealth()}
	p.prefix.Store(&target.prefix)
	if target.chosen || !cfg.AwaitPrefix {
		close(p.named)
	}
	p.calls = &redigo.Pool{
		DialContext: func(ctx context.Context) (redigo.Conn, error) { return p.dial(ctx) },
		TestOnBorrowContext: func(ctx context.Context, c redigo.Conn, lastUsed time.Time) error {
			if own, ok := c.(*conn); ok && closedByPeer(own.socket) {
				return errClosedByPeer
			}
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

// SetPrefix sets the prefix of the keys, unless the URL has one. It is called once, before
// the first push and pull, and only with Config.AwaitPrefix.
func (p *Pool) SetPrefix(prefix string) {
	if p.target.chosen {
		return
	}
	p.prefix.Store(&prefix)
	close(p.named)
}

// awaitPrefix waits until the prefix is set.
func (p *Pool) awaitPrefix(ctx context.Context) error {
	select {
	case <-p.named:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// key is the full name of a key.
func (p *Pool) key(name string) string { return *p.prefix.Load() + name }

// command is a command of a pipeline.
type command struct {
	name string
	args []any
}

// pipeline sends commands together, and returns a reply for each: a redigo.Error for one
// that the server refused. The call timeout bounds it together with the wait for a
// connection. Redis may run commands of others in between.
func (p *Pool) pipeline(ctx context.Context, commands []command) ([]any, error) {
	ctx, cancel := context.WithTimeout(ctx, p.target.limits.Call)
	defer cancel()
	c, err := p.calls.GetContext(ctx)
	if err != nil {
		return nil, translate(err)
	}
	defer c.Close()
	replies, err := sendAll(ctx, c, commands)
	return replies, translate(err)
}

func sendAll(ctx context.Context, c redigo.Conn, commands []command) ([]any, error) {
	for _, cmd := range commands {
		if err := c.Send(cmd.name, cmd.args...); err != nil {
			return nil, err
		}
	}
	replies, err := redigo.Values(redigo.DoContext(c, ctx, ""))
	if err == nil && len(replies) != len(commands) {
		err = fmt.Errorf("got %d replies to %d commands", len(replies), len(commands))
	}
	return replies, err
}

// do runs one command that does not block. The call timeout bounds it together with the
// wait for a connection.
func (p *Pool) do(ctx context.Context, command string, args ...any) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, p.target.limits.Call)
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
	dialCtx, cancel := context.WithTimeout(ctx, p.target.limits.Dial)
	defer cancel()
	var socket net.Conn
	options := append(slices.Clip(p.target.options), redigo.DialContextFunc(func(ctx context.Context, network, address string) (net.Conn, error) {
		made, err := p.connect(ctx, network, address)
		socket = made
		return made, err
	}))
	c, err := redigo.DialContext(dialCtx, "tcp", p.target.address, options...)
	if err != nil {
		if contextErr(ctx) == nil { // else the caller gave up, and nothing is known of Redis
			p.mu.Lock()
			p.failed, p.failedAt = err, time.Now()
			p.mu.Unlock()
		}
		return nil, err
	}
	return &conn{Conn: c, socket: socket}, nil
}

// connect makes the network connection; a handshake of TLS ends with ctx as well.
func (p *Pool) connect(ctx context.Context, network, address string) (net.Conn, error) {
	if p.target.tls == nil {
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	return (&tls.Dialer{Config: p.target.tls}).DialContext(ctx, network, address)
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
