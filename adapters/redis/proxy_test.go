package redis

import (
	"net"
	"net/url"
	"sync"
	"testing"
)

// proxy forwards connections, and can stop forwarding without closing them.
type proxy struct {
	listener net.Listener
	target   string
	mu       sync.Mutex
	move     *sync.Cond
	stalled  bool
	ended    bool
	conns    []net.Conn
	copies   sync.WaitGroup
}

// startProxy starts a proxy in front of the server; the test's end ends it.
func startProxy(t *testing.T, server string) *proxy {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: listener, target: u.Host}
	p.move = sync.NewCond(&p.mu)
	p.copies.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

func (p *proxy) url() string { return "redis://" + p.listener.Addr().String() }

func (p *proxy) stall(stalled bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stalled = stalled
	p.move.Broadcast()
}

func (p *proxy) close() {
	p.mu.Lock()
	p.ended = true
	_ = p.listener.Close()
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.move.Broadcast()
	p.mu.Unlock()
	p.copies.Wait()
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		if p.ended {
			_, _ = client.Close(), server.Close()
		}
		p.conns = append(p.conns, client, server)
		p.mu.Unlock()
		p.copies.Go(func() { p.copy(server, client) })
		p.copies.Go(func() { p.copy(client, server) })
	}
}

func (p *proxy) copy(to, from net.Conn) {
	defer to.Close()
	buffer := make([]byte, 4096)
	for {
		n, err := from.Read(buffer)
		if err != nil || !p.pass() {
			return
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// pass waits until bytes may be forwarded; false at the end.
func (p *proxy) pass() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.stalled && !p.ended {
		p.move.Wait()
	}
	return !p.ended
}

// drop closes all connections.
func (p *proxy) drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.conns = nil
}
