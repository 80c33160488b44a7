package pgconn

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"github.com/lib/pq"
)

// server is what the pools of one program share about the server.
type server struct {
	hosts  []pq.Config // one host each
	random bool        // the order of hosts, as the URL says
	limits Limits
	pin    string // the statement that a session begins with

	first atomic.Int32 // the host that served last
	known atomic.Bool  // a connection has been made at some time
}

// newServer makes one of the driver's configuration.
func newServer(cfg pq.Config, limits Limits) *server {
	s := &server{random: cfg.LoadBalanceHosts == pq.LoadBalanceHostsRandom, limits: limits, pin: pinOf(limits)}
	others := cfg.Multi
	cfg.Multi, cfg.LoadBalanceHosts = nil, ""
	s.hosts = []pq.Config{cfg}
	for _, m := range others {
		host := cfg.Clone()
		host.Host, host.Hostaddr, host.Port = m.Host, m.Hostaddr, m.Port
		s.hosts = append(s.hosts, host)
	}
	return s
}

// connector makes the connections of one pool.
type connector struct {
	*server
	// sessions bounds the sessions at the server, also those that were given up and that
	// the server has not ended yet. It holds one value for each.
	sessions chan struct{}
	// suspect is when a connection that was idle did not answer. Those that had been idle
	// for as long are not used again.
	suspect atomic.Pointer[time.Time]
}

var _ driver.Connector = (*connector)(nil)

// Driver is there for database/sql, which has no use for it.
func (c *connector) Driver() driver.Driver { return &pq.Driver{} }

// Connect makes a connection to the first host that accepts one. A host that takes
// longer than others may is not given up, but the next is tried beside it.
func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	select {
	case c.sessions <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for earlier sessions to end: %w", ctx.Err())
	}
	conn, err := c.race(ctx)
	if err != nil {
		<-c.sessions
		return nil, c.classify(err)
	}
	c.known.Store(true)
	conn.pool = c
	return conn, nil
}

// release gives back the session of a connection that is closed, once the server has
// ended it too.
func (c *connector) release(after time.Duration) {
	time.AfterFunc(after, func() { <-c.sessions })
}

// classify makes an error one of the settings as long as they have never worked. Later
// it is an outage: somebody is changing something.
func (c *connector) classify(err error) error {
	if c.known.Load() || standby(err) {
		if !errors.Is(err, context.Canceled) {
			err = Outage(err)
		}
		return err
	}
	if message, ok := unsupportedParameter(err); ok {
		return &UnfitError{Want: "the URL of a PgBouncer that accepts the settings of Millrace's sessions (its answer: " + message +
			"): set ignore_startup_parameters = " + strings.Join(startupSettings(), ",")}
	}
	if refused(err) {
		return &refusedError{err}
	}
	return err
}

// standby reports whether no host takes writes, as during a failover. The driver has
// no error of its own for that.
func standby(err error) bool {
	return strings.Contains(err.Error(), "session is read-only") || strings.Contains(err.Error(), "hot standby mode")
}

// order is the hosts in the order in which they are tried: the one that served last,
// and then as the URL names them.
func (s *server) order() []int {
	order := make([]int, len(s.hosts))
	for i := range order {
		order[i] = (int(s.first.Load()) + i) % len(order)
	}
	if s.random {
		rand.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	}
	return order
}

// attempt is what came of the connecting to one host.
type attempt struct {
	host int
	conn *preparingConn
	err  error
}

// race tries the hosts one beside the other until one accepts.
func (s *server) race(ctx context.Context) (*preparingConn, error) {
	ctx, cancel := context.WithTimeout(ctx, s.limits.Connect)
	order, under := s.order(), 0
	done := make(chan attempt, len(order))
	defer func() {
		cancel()
		go closeLate(done, under)
	}()
	next := time.NewTimer(0)
	defer next.Stop()
	var errs []error
	for left := order; ; {
		select {
		case <-next.C:
			if len(left) > 0 {
				host := left[0]
				left, under = left[1:], under+1
				go func() {
					conn, err := s.connect(ctx, host)
					done <- attempt{host, conn, err}
				}()
				next.Reset(s.limits.Stagger)
			}
		case a := <-done:
			under--
			if a.err == nil {
				s.first.Store(int32(a.host))
				return a.conn, nil
			}
			errs = append(errs, s.named(a))
			if under == 0 && len(left) == 0 {
				return nil, errors.Join(errs...)
			}
			next.Reset(0)
		case <-ctx.Done():
			return nil, errors.Join(append(errs, ctx.Err())...)
		}
	}
}

// named is the error of an attempt, with its host if there are several.
func (s *server) named(a attempt) error {
	if len(s.hosts) == 1 {
		return a.err
	}
	return fmt.Errorf("%s:%d: %w", s.hosts[a.host].Host, s.hosts[a.host].Port, a.err)
}

// closeLate waits for attempts whose connections nobody needs.
func closeLate(done <-chan attempt, under int) {
	for range under {
		if a := <-done; a.conn != nil {
			_ = a.conn.pqConn.Close()
		}
	}
}

// connect makes a connection to one host, with the settings of its session, before
// ctx ends.
func (s *server) connect(ctx context.Context, host int) (*preparingConn, error) {
	d := &dialer{timeout: s.limits.Call}
	d.bound, _ = ctx.Deadline()
	made, err := pq.NewConnectorConfig(s.hosts[host])
	if err != nil {
		return nil, err
	}
	made.Dialer(d)
	kept := context.AfterFunc(ctx, d.abort)
	defer kept()
	c, err := made.Connect(ctx)
	if err != nil {
		return nil, errors.Join(ctx.Err(), err)
	}
	conn, ok := c.(pqConn)
	if !ok {
		_ = c.Close()
		return nil, fmt.Errorf("the driver's connection is a %T", c)
	}
	_, err = conn.ExecContext(context.WithoutCancel(ctx), s.pin, nil)
	if err == nil && !kept() {
		err = ctx.Err()
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return &preparingConn{pqConn: conn, statements: map[string]pqStmt{}, link: d.use(), used: time.Now()}, nil
}
