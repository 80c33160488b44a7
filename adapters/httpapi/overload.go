package httpapi

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

// places bounds how many do something at once. Nobody waits for a place: whoever
// finds none is turned away, so that what waits stays bounded.
type places chan struct{}

func (p places) take() bool {
	select {
	case p <- struct{}{}:
		return true
	default:
		return false
	}
}

// takeSoon waits for a place that is about to become free.
func (p places) takeSoon() bool {
	soon := time.NewTimer(freeingTakes)
	defer soon.Stop()
	select {
	case p <- struct{}{}:
		return true
	case <-soon.C:
		return false
	}
}

func (p places) leave() { <-p }

const (
	// uploadPatience is how long a body may take even if its place is wanted.
	uploadPatience = time.Second
	// freeingTakes bounds how long a request that was cut off needs to leave.
	freeingTakes = 100 * time.Millisecond
)

// admit answers 503 while the program is still starting, and at once when as many requests are under way as there may be,
// unless one of them only dribbles its body: that one has to give way. Health is
// always told: a service that is busy is not dead.
func (h *handlers) admit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isOpen(r) {
			next.ServeHTTP(w, r)
			return
		}
		if err := h.uc.Readiness.Held(); err != nil {
			h.fail(w, r, err)
			return
		}
		if !h.requests.take() && (!h.uploads.cutLongest() || !h.requests.takeSoon()) {
			h.fail(w, r, overloaded.because("too many requests are under way; nothing was done"))
			return
		}
		watched(w).place = h.requests
		defer leavePlace(w)
		next.ServeHTTP(w, r)
	})
}

// leavePlace gives the request's place among those under way to another, before
// its end maybe.
func leavePlace(w http.ResponseWriter) {
	if held := watched(w); held.place != nil {
		held.place.leave()
		held.place = nil
	}
}

// uploads are the requests whose body is still to arrive.
type uploads struct {
	mu    sync.Mutex
	since map[http.ResponseWriter]time.Time
}

// begin notes that a body is being read.
func (u *uploads) begin(w http.ResponseWriter) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.since == nil {
		u.since = map[http.ResponseWriter]time.Time{}
	}
	u.since[w] = time.Now()
}

// end notes that the body is there.
func (u *uploads) end(w http.ResponseWriter) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.since, w)
}

// cutLongest ends the wait for the body that is the longest under way, if it has
// had its time.
func (u *uploads) cutLongest() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	var longest http.ResponseWriter
	for w, since := range u.since {
		if longest == nil || since.Before(u.since[longest]) {
			longest = w
		}
	}
	if longest == nil || time.Since(u.since[longest]) < uploadPatience {
		return false
	}
	delete(u.since, longest)
	// The request has not ended: it is done with its upload only under the lock.
	return http.NewResponseController(longest).SetReadDeadline(time.Now()) == nil
}

// stored runs a use case, unless too many wait for the store already: a store
// that has become slow must not collect requests, and their bodies, in memory.
func stored[In, Out any](ctx context.Context, h *handlers, run func(context.Context, In) (Out, error), in In) (Out, error) {
	if !h.waiting.take() {
		var none Out
		return none, overloaded.because("too many requests wait for the store; nothing was done")
	}
	defer h.waiting.leave()
	return run(ctx, in)
}

// doorkeeper bounds the open connections. When there is no room for another, the
// connection that has gone longest without a request makes room: one that is kept
// alive and idle, or one whose client has not sent a whole header. So clients that
// only hold connections cannot keep others out, health least of all.
type doorkeeper struct {
	net.Listener
	most int

	mu   sync.Mutex
	open map[net.Conn]time.Time // since when it is without a request; zero: it has one
}

func newDoorkeeper(most int) *doorkeeper {
	return &doorkeeper{most: most, open: make(map[net.Conn]time.Time)}
}

// Accept waits for a connection that there is room for. One that there is no room
// for, as all others have requests, is closed.
func (d *doorkeeper) Accept() (net.Conn, error) {
	for {
		c, err := d.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if d.enter(c) {
			return c, nil
		}
		_ = c.Close() // nothing was said on it
	}
}

func (d *doorkeeper) enter(c net.Conn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.open) >= d.most && !d.makeRoom() {
		return false
	}
	d.open[c] = time.Now()
	return true
}

// makeRoom closes the connection that has gone longest without a request.
func (d *doorkeeper) makeRoom() bool {
	var longest net.Conn
	for c, since := range d.open {
		if !since.IsZero() && (longest == nil || since.Before(d.open[longest])) {
			longest = c
		}
	}
	if longest == nil {
		return false
	}
	delete(d.open, longest)
	_ = longest.Close() // its goroutine reads an error and ends
	return true
}

// watch is the ConnState of the server. A request begins when its header is there.
func (d *doorkeeper) watch(c net.Conn, state http.ConnState) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ours := d.open[c]; !ours {
		return
	}
	switch state {
	case http.StateActive:
		d.open[c] = time.Time{}
	case http.StateIdle:
		d.open[c] = time.Now()
	case http.StateClosed, http.StateHijacked:
		delete(d.open, c)
	case http.StateNew:
	}
}
