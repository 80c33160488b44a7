package admission

import (
	"net/http"
	"time"
)

// evictionGrace is how long an evicted request may take to release its slot.
const evictionGrace = 100 * time.Millisecond

// Limiter bounds how many requests are in progress. At the limit, the slowest
// upload is evicted: clients that send their bodies byte by byte must not keep
// others out.
type Limiter struct {
	slots   semaphore
	uploads uploads
}

// NewLimiter makes a limiter of that many requests.
func NewLimiter(limit int) *Limiter {
	return &Limiter{slots: make(semaphore, limit), uploads: uploads{since: map[http.ResponseWriter]time.Time{}}}
}

// Acquire takes a slot for a request, or reports that there is none. Whoever has
// acquired one releases it.
func (l *Limiter) Acquire() bool {
	return l.slots.tryAcquire() || l.uploads.evictSlowest() && l.slots.acquireWithin(evictionGrace)
}

// Release gives the slot back.
func (l *Limiter) Release() { l.slots.release() }

// BeginUpload notes that the body of w's request is being read. Until EndUpload,
// the request may be evicted.
func (l *Limiter) BeginUpload(w http.ResponseWriter) { l.uploads.begin(w) }

// EndUpload notes that the body has been read, or that reading it has failed.
func (l *Limiter) EndUpload(w http.ResponseWriter) { l.uploads.end(w) }
