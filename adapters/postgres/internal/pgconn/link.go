package pgconn

import (
	"context"
	"errors"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// dialer makes links for lib/pq, its cancel requests included.
type dialer struct {
	timeout time.Duration
}

func (d dialer) Dial(network, address string) (net.Conn, error) {
	return d.DialContext(context.Background(), network, address)
}

func (d dialer) DialTimeout(network, address string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return d.DialContext(ctx, network, address)
}

func (d dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := (&net.Dialer{Timeout: d.timeout}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &link{Conn: c, timeout: d.timeout}, nil
}

// link is a connection on which no read and no write takes longer than timeout.
// One that did is closed: what comes after it could be the answer to something else.
type link struct {
	net.Conn
	timeout time.Duration
	limit   atomic.Pointer[time.Time] // set from outside for the whole of the handshake
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

// next is when the read or write that begins now has to be over.
func (l *link) next() time.Time {
	at := time.Now().Add(l.timeout)
	if limit := l.limit.Load(); limit != nil && !limit.IsZero() && limit.Before(at) {
		return *limit
	}
	return at
}

func (l *link) closeIfStalled(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		_ = l.Conn.Close()
	}
	return err
}
