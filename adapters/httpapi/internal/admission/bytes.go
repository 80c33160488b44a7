package admission

import (
	"context"
	"net/http"
	"time"

	weighted "golang.org/x/sync/semaphore"
)

// bytesWait is how long a body waits for room: the bodies before it are stored within
// milliseconds, unless the store is away.
const bytesWait = 2 * time.Second

// Bytes bounds how many bytes of bodies are in memory at once. Unlike the other bounds,
// it lets a request wait for a while, in the order of arrival: a waiting request holds no
// body. Meanwhile uploads that are slow are evicted.
type Bytes struct {
	limit   int64
	room    *weighted.Weighted
	uploads uploads
}

// NewBytes makes a bound of that many bytes.
func NewBytes(limit int64) *Bytes {
	return &Bytes{limit: limit, room: weighted.NewWeighted(limit), uploads: uploads{since: map[http.ResponseWriter]time.Time{}}}
}

// Acquire takes room for n more bytes of a body that has taken held, and returns how much
// it has taken: if n is more than there is, the rest of all. It reports whether there was
// room before the time to wait, or ctx, ended. Whoever has acquired it releases it.
func (b *Bytes) Acquire(ctx context.Context, n, held int64) (taken int64, ok bool) {
	n = min(n, b.limit-held)
	if b.room.TryAcquire(n) {
		return n, true
	}
	ctx, cancel := context.WithTimeout(ctx, bytesWait)
	defer cancel()
	defer b.evictUntil(ctx)()
	if b.room.Acquire(ctx, n) != nil {
		return 0, false
	}
	return n, true
}

// evictUntil evicts slow uploads, one at a time, until it is stopped or ctx ends.
func (b *Bytes) evictUntil(ctx context.Context) (stop func()) {
	done := make(chan struct{})
	go func() {
		tick := time.NewTicker(evictionGrace)
		defer tick.Stop()
		for {
			b.uploads.evictSlowest()
			select {
			case <-tick.C:
			case <-done:
				return
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() { close(done) }
}

// Release gives room back.
func (b *Bytes) Release(taken int64) { b.room.Release(taken) }

// BeginUpload notes that the body of w's request is being read. Until EndUpload,
// the request may be evicted.
func (b *Bytes) BeginUpload(w http.ResponseWriter) { b.uploads.begin(w) }

// EndUpload notes that the body has been read, or that reading it has failed.
func (b *Bytes) EndUpload(w http.ResponseWriter) { b.uploads.end(w) }
