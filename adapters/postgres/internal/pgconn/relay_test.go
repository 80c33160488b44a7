package pgconn

import (
	"net"
	"net/url"
	"sync"
	"testing"
)

// relay forwards between its clients and the server of a database.
type relay struct {
	url string // of the database, through the relay

	mu      sync.Mutex
	conns   []net.Conn
	dropped map[net.Conn]bool
}

func newRelay(t *testing.T, database string) *relay {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	server := u.Host
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u.Host = l.Addr().String()
	r := &relay{url: u.String(), dropped: map[net.Conn]bool{}}
	var running sync.WaitGroup
	t.Cleanup(func() {
		_ = l.Close()
		r.mu.Lock()
		for _, c := range r.conns {
			_ = c.Close()
		}
		r.mu.Unlock()
		running.Wait()
	})
	running.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			upstream, err := net.Dial("tcp", server)
			if err != nil {
				_ = client.Close()
				continue
			}
			r.mu.Lock()
			r.conns = append(r.conns, client, upstream)
			r.mu.Unlock()
			running.Go(func() { r.forward(upstream, client) })
			running.Go(func() { r.forward(client, upstream) })
		}
	})
	return r
}

// forget keeps the connections that there are, and forwards nothing on them any more.
func (r *relay) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.conns {
		r.dropped[c] = true
	}
}

func (r *relay) forward(to, from net.Conn) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		r.mu.Lock()
		dropped := r.dropped[from]
		r.mu.Unlock()
		if err == nil && !dropped {
			_, err = to.Write(buf[:n])
		}
		if err != nil {
			if !dropped {
				_ = to.Close()
			}
			_ = from.Close()
			return
		}
	}
}
