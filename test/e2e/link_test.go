package e2e

import (
	"net"
	"net/url"
	"sync/atomic"
	"testing"
	"time"
)

// link forwards bytes between its clients and one server. While it is stalled
// they wait and the connections stay open, without any notice to either side. With a
// delay all that is sent arrives that much later.
type link struct {
	url     string // of the server, through the link
	stalled atomic.Bool
	delay   atomic.Int64  // nanoseconds, each way
	gone    chan struct{} // closed at the end of the test
}

func newLink(t *testing.T, server string) *link {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	to := u.Host
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	u.Host = listener.Addr().String()
	l := &link{url: u.String(), gone: make(chan struct{})}
	t.Cleanup(func() { close(l.gone) })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			upstream, err := net.Dial("tcp", to)
			if err != nil {
				_ = client.Close()
				continue
			}
			go l.forward(upstream, client)
			go l.forward(client, upstream)
		}
	}()
	return l
}

func (l *link) forward(to, from net.Conn) {
	defer func() { _, _ = to.Close(), from.Close() }()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		time.Sleep(time.Duration(l.delay.Load()))
		for l.stalled.Load() {
			select {
			case <-time.After(10 * time.Millisecond):
			case <-l.gone:
				return
			}
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}
