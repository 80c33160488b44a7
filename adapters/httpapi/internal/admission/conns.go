package admission

import (
	"net"
	"net/http"
	"sync"
	"time"
)

// ConnLimiter is a listener that bounds the open connections. At the limit, a new
// connection replaces the one that has gone longest without a request: one that is
// kept alive and idle, or one whose client has not sent a whole header. So clients
// that only hold connections cannot keep others out, health checks least of all.
type ConnLimiter struct {
	net.Listener // to be set before Accept
	limit        int

	mu        sync.Mutex
	idleSince map[net.Conn]time.Time // of each open connection; zero: it has a request
}

// NewConnLimiter makes a limiter of that many connections.
func NewConnLimiter(limit int) *ConnLimiter {
	return &ConnLimiter{limit: limit, idleSince: make(map[net.Conn]time.Time)}
}

// Accept waits for a connection. One that comes while all others have requests is closed.
func (l *ConnLimiter) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.add(c) {
			return c, nil
		}
		_ = c.Close() // nothing was sent on it
	}
}

func (l *ConnLimiter) add(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.idleSince) >= l.limit && !l.closeLongestIdle() {
		return false
	}
	l.idleSince[c] = time.Now()
	return true
}

func (l *ConnLimiter) closeLongestIdle() bool {
	var longest net.Conn
	for c, since := range l.idleSince {
		if !since.IsZero() && (longest == nil || since.Before(l.idleSince[longest])) {
			longest = c
		}
	}
	if longest == nil {
		return false
	}
	delete(l.idleSince, longest)
	_ = longest.Close() // its goroutine reads an error and ends
	return true
}

// OnConnState is for http.Server.ConnState. A request begins when its header has arrived.
func (l *ConnLimiter) OnConnState(c net.Conn, state http.ConnState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, open := l.idleSince[c]; !open {
		return
	}
	switch state {
	case http.StateActive:
		l.idleSince[c] = time.Time{}
	case http.StateIdle:
		l.idleSince[c] = time.Now()
	case http.StateClosed, http.StateHijacked:
		delete(l.idleSince, c)
	case http.StateNew:
	}
}
