package admission

import (
	"net/http"
	"sync"
	"time"
)

// uploadGrace is how long a body may take even if its slot is wanted.
const uploadGrace = time.Second

// uploads are the requests whose body is still arriving.
type uploads struct {
	mu    sync.Mutex
	since map[http.ResponseWriter]time.Time
}

func (u *uploads) begin(w http.ResponseWriter) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.since[w] = time.Now()
}

func (u *uploads) end(w http.ResponseWriter) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.since, w)
}

// evictSlowest ends the oldest upload, if it is older than uploadGrace: its reader
// gets os.ErrDeadlineExceeded.
func (u *uploads) evictSlowest() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	var slowest http.ResponseWriter
	for w, since := range u.since {
		if slowest == nil || since.Before(u.since[slowest]) {
			slowest = w
		}
	}
	if slowest == nil || time.Since(u.since[slowest]) < uploadGrace {
		return false
	}
	delete(u.since, slowest)
	// The request cannot have ended: end takes the lock first.
	return http.NewResponseController(slowest).SetReadDeadline(time.Now()) == nil
}
