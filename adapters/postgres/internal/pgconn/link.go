package pgconn

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// dialer makes the links of one connection for lib/pq, its cancel requests included.
type dialer struct {
	timeout time.Duration
	bound   time.Time // of what comes before the connection is in use

	mu      sync.Mutex
	current *link // the last that was made before the connection was in use
	aborted bool
	inUse   bool
}

func (d *dialer) Dial(network, address string) (net.Conn, error) {
	return d.DialContext(context.Background(), network, address)
}

func (d *dialer) DialTimeout(network, address string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return d.DialContext(ctx, network, address)
}

func (d *dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := (&net.Dialer{Timeout: d.timeout}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	l := &link{Conn: c, timeout: d.timeout}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.aborted:
		_ = c.Close()
		return nil, context.Canceled
	case !d.inUse:
		l.boundUntil(d.bound)
		d.current = l
	}
	return l, nil
}

// abort closes the link of a connection that nobody waits for any more.
func (d *dialer) abort() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.aborted = true
	if d.current != nil {
		_ = d.current.Conn.Close()
	}
}

// use returns the link of the connection, which is in use from now on.
func (d *dialer) use() *link {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.inUse = true
	if d.current != nil {
		d.current.boundUntil(time.Time{})
	}
	return d.current
}

// link is a connection on which no read and no write takes longer than timeout.
// One that did is closed: what comes after it could be the answer to something else.
type link struct {
	net.Conn
	timeout time.Duration
	limit   atomic.Pointer[time.Time] // set by the driver for the whole of the handshake
	bound   atomic.Pointer[time.Time] // set by this package, for what it does itself
	stalled atomic.Bool               // the server may not know that the connection is closed
}

func (l *link) Read(p []byte) (int, error) {
	if err := l.Conn.SetReadDeadline(l.next()); err != nil {
		return 0, err
	}
	n, err := l.Conn.Read(p)
	return n, l.closeIfStalled(err)
}

func (l *link) Write(p []byte) (int, error) {
	if err := l.Conn.SetWriteDeadline(l.next()); err != nil {
		return 0, err
	}
	n, err := l.Conn.Write(p)
	return n, l.closeIfStalled(err)
}

// SetDeadline bounds all reads and writes until it is called with the zero time.
func (l *link) SetDeadline(t time.Time) error {
	l.limit.Store(&t)
	return nil
}

// boundUntil bounds all reads and writes as SetDeadline does, and beside it.
func (l *link) boundUntil(t time.Time) { l.bound.Store(&t) }

// next is when the read or write that begins now has to be over.
func (l *link) next() time.Time {
	at := time.Now().Add(l.timeout)
	for _, limit := range []*time.Time{l.limit.Load(), l.bound.Load()} {
		if limit != nil && !limit.IsZero() && limit.Before(at) {
			at = *limit
		}
	}
	return at
}

func (l *link) closeIfStalled(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		l.stalled.Store(true)
		_ = l.Conn.Close()
	}
	return err
}

// quiet reports whether the connection is open and has nothing to read. That is how
// one has to be between two calls: a server that ends it says so, or closes it.
func (l *link) quiet() bool {
	sc, ok := l.Conn.(syscall.Conn)
	if !ok {
		return true // of a kind that cannot be looked at: the next call will tell
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	quiet := false
	err = raw.Control(func(fd uintptr) {
		var one [1]byte
		_, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		quiet = errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EINTR)
	})
	return err == nil && quiet
}
