package httpapi_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/adapters/httpapi"
)

// dial opens a connection to the server that run has started.
func dial(t *testing.T, base string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// sendSlowly sends the text, then a byte every 20 ms until the server hangs up. It
// returns what the server said.
func sendSlowly(c net.Conn, text, drop string) string {
	_, _ = io.WriteString(c, text)
	said := make(chan string, 1)
	go func() {
		answer, _ := io.ReadAll(c)
		said <- string(answer)
	}()
	for {
		select {
		case answer := <-said:
			return answer
		case <-time.After(20 * time.Millisecond):
			_, _ = io.WriteString(c, drop)
		}
	}
}

// runAndStop runs the server until the end of the test.
func runAndStop(t *testing.T, server *httpapi.Server) string {
	t.Helper()
	base, stop, ended := run(t, server)
	t.Cleanup(func() {
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return base
}

// TestSlowLoris_IsCutOffWhileOthersAreServed has one short time at a time: who is
// cut off is so by that one, however slow the machine is.
func TestSlowLoris_IsCutOffWhileOthersAreServed(t *testing.T) {
	const forever, most = 10 * time.Minute, time.Minute
	header := func(cfg *httpapi.Config) time.Duration {
		cfg.ReadHeaderTimeout, cfg.ReadTimeout, cfg.IdleTimeout = 400*time.Millisecond, forever, forever
		return cfg.ReadHeaderTimeout
	}
	body := func(cfg *httpapi.Config) time.Duration {
		cfg.ReadHeaderTimeout, cfg.ReadTimeout, cfg.IdleTimeout = forever, 2*time.Second, forever
		return cfg.ReadTimeout
	}
	idle := func(cfg *httpapi.Config) time.Duration {
		cfg.ReadHeaderTimeout, cfg.ReadTimeout, cfg.IdleTimeout = forever, forever, 600*time.Millisecond
		return cfg.IdleTimeout
	}
	for name, c := range map[string]struct {
		text, drop string
		short      func(*httpapi.Config) time.Duration
		want       string
	}{
		"header":  {"GET /tasks HTTP/1.1\r\nHost: localhost\r\nX-Slow: ", "x", header, ""},
		"body":    {"POST /tasks HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n", " ", body, " 408 "},
		"chunks":  {"POST /tasks HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\n \r\n", body, " 408 "},
		"silence": {"", "", header, ""},
		"idle":    {"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", "", idle, " 200 "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var short time.Duration
			base := runAndStop(t, newService(t, func(cfg *httpapi.Config) { short = c.short(cfg) }).server)
			type end struct {
				took time.Duration
				said string
			}
			const clients = 50
			ends := make(chan end, clients)
			for range clients {
				begun := time.Now()
				conn := dial(t, base)
				_ = conn.SetReadDeadline(begun.Add(most))
				go func() {
					said := sendSlowly(conn, c.text, c.drop)
					ends <- end{time.Since(begun), said}
				}()
			}
			for range clients {
				if got := status(t, base+"/tasks"); got != http.StatusOK {
					t.Errorf("others get %d", got)
				}
			}
			for range clients {
				e := <-ends
				if e.took < short-100*time.Millisecond || e.took >= most || !strings.Contains(e.said+"\n", c.want) {
					t.Errorf("cut off after %s with %.60q", e.took, e.said)
				}
			}
		})
	}
}

func TestOverload_TurnsAwayAtOnceWhatWaitsForTheStoreInVain(t *testing.T) {
	const most, clients = 20, 300
	s := newService(t, func(cfg *httpapi.Config) { cfg.Waiting, cfg.ReadTimeout = most, time.Minute })
	release := make(chan struct{})
	var inside, peak atomic.Int64
	s.store.set(func(context.Context) error {
		n := inside.Add(1)
		for p := peak.Load(); n > p && !peak.CompareAndSwap(p, n); p = peak.Load() {
		}
		<-release
		inside.Add(-1)
		return nil
	})
	answers := make(chan answer, clients)
	var wait sync.WaitGroup
	for range clients {
		wait.Go(func() {
			var a answer
			defer func() { answers <- a }() // also if call gives up
			a = s.call("POST", "/tasks", `{"message":"x"}`)
		})
	}
	for range clients - most {
		a := <-answers
		wantProblem(t, a, http.StatusServiceUnavailable, "overloaded", "")
		if a.header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
	}
	for _, path := range []string{"/tasks", "/tasks/019b1c5f-8ee1-7b3b-8000-0001bf7319d3"} {
		wantProblem(t, s.call("GET", path, ""), http.StatusServiceUnavailable, "overloaded", "")
	}
	if a := s.call("GET", "/problems", ""); a.status != http.StatusOK {
		t.Errorf("what needs no store: %d", a.status)
	}
	close(release)
	wait.Wait()
	for range most {
		if a := <-answers; a.status != http.StatusCreated {
			t.Errorf("one that waited: %d %s", a.status, a.body)
		}
	}
	if peak.Load() != most {
		t.Errorf("%d waited at once, not %d", peak.Load(), most)
	}
	if id := s.submit("after"); id == "" {
		t.Error("the places are not free again")
	}
}

func TestOverload_TurnsAwayMoreRequestsThanMayBeUnderWayButTellsItsHealth(t *testing.T) {
	s := newService(t, func(cfg *httpapi.Config) { cfg.Requests, cfg.ReadTimeout = 2, time.Minute })
	arrived, release := make(chan struct{}), make(chan struct{})
	s.store.set(func(context.Context) error {
		arrived <- struct{}{}
		<-release
		return nil
	})
	var wait sync.WaitGroup
	for range 2 {
		wait.Go(func() { s.call("GET", "/tasks", "") })
		<-arrived
	}
	for _, path := range []string{"/tasks", "/", "/docs", "/openapi.yaml", "/openapi.json", "/problems", "/problems/conflict", "/nowhere"} {
		quickest := time.Hour
		for tries := 0; tries < 20 && quickest > 90*time.Millisecond; tries++ { // a busy machine is late now and then
			begun := time.Now()
			wantProblem(t, s.call("GET", path, ""), http.StatusServiceUnavailable, "overloaded", "")
			quickest = min(quickest, time.Since(begun))
		}
		if quickest > 90*time.Millisecond { // it waits for a place
			t.Errorf("%s was turned away after %s at best", path, quickest)
		}
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if a := s.call("GET", path, ""); a.status != http.StatusOK {
			t.Errorf("%s: %d", path, a.status)
		}
	}
	close(release)
	wait.Wait()
	s.store.set(nil)
	if a := s.call("GET", "/tasks", ""); a.status != http.StatusOK {
		t.Errorf("afterwards: %d", a.status)
	}
}

func TestOverload_ASlowUploadIsEvicted(t *testing.T) {
	s := newService(t, func(cfg *httpapi.Config) { cfg.Requests, cfg.ReadTimeout = 3, 10*time.Minute })
	base := runAndStop(t, s.server)
	said := make(chan string, 3)
	for range 3 {
		conn := dial(t, base)
		go func() {
			said <- sendSlowly(conn, "POST /tasks HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n", " ")
		}()
	}
	time.Sleep(1200 * time.Millisecond) // all have their places, and have had their time
	for range 3 {
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
			got := status(t, base+"/tasks")
			if got == http.StatusOK {
				break
			}
			if got != http.StatusServiceUnavailable || time.Now().After(deadline) { // or a busy machine has given the places later
				t.Fatalf("another gets %d", got)
			}
		}
	}
	if answer := <-said; !strings.Contains(answer, " 408 ") {
		t.Errorf("a slow upload gets %.60q", answer)
	}
}

func TestConnections_ThatOnlyHoldOnMakeRoom(t *testing.T) {
	const most = 20
	s := newService(t, func(cfg *httpapi.Config) { cfg.Connections = most })
	base := runAndStop(t, s.server)
	var idle []net.Conn
	for i := range 10 * most {
		c := dial(t, base)
		idle = append(idle, c)
		switch i % 3 {
		case 0: // nothing
		case 1:
			_, _ = io.WriteString(c, "GET /tasks HTTP/1.1\r\nX-Slow: ")
		case 2:
			_, _ = io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
			if res, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || res.StatusCode != http.StatusOK {
				t.Fatalf("connection %d: %v %v", i, res, err)
			}
		}
		if got := status(t, base+"/healthz"); got != http.StatusOK {
			t.Fatalf("health beside %d connections: %d", i, got)
		}
	}
	open := openOf(idle)
	for deadline := time.Now().Add(time.Minute); open > most && time.Now().Before(deadline); {
		open = openOf(idle) // a busy machine is late to close them
	}
	if open > most || open < most-2 {
		t.Errorf("%d connections are open, of at most %d", open, most)
	}
}

// openOf counts the connections that the server has not closed.
func openOf(conns []net.Conn) (open int) {
	for _, c := range conns {
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
		if _, err := c.Read(make([]byte, 1)); err != nil && strings.Contains(fmt.Sprint(err), "timeout") {
			open++
		}
	}
	return open
}

func TestConnections_WithRequestsAreKept(t *testing.T) {
	s := newService(t, func(cfg *httpapi.Config) { cfg.Connections = 2 })
	base := runAndStop(t, s.server)
	arrived, release := make(chan struct{}), make(chan struct{})
	s.store.set(func(context.Context) error {
		arrived <- struct{}{}
		<-release
		return nil
	})
	got := make(chan int, 2)
	for range 2 {
		go func() { got <- status(t, base+"/tasks") }()
		<-arrived
	}
	if _, err := dial(t, base).Read(make([]byte, 1)); err == nil || strings.Contains(err.Error(), "timeout") {
		t.Errorf("a third connection: %v", err)
	}
	close(release)
	for range 2 {
		if status := <-got; status != http.StatusOK {
			t.Errorf("a request under way: %d", status)
		}
	}
}
