// Package memory has what the embedded mode keeps inside its process: the queue
// and the signals. It knows of no other process.
package memory

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/millrace/millrace/application"
)

var _ application.Queue = (*Queue)(nil)

// pullWait is how long a pull waits before it returns none: whoever pulls shows
// by that that it is alive.
const pullWait = 2 * time.Second

// Queue is a queue inside the process. Its entries end with the process: the
// dispatcher pushes them again. It never fails, and has no bound but memory.
type Queue struct {
	mu      sync.Mutex
	entries []application.Entry // append and reslice: what is behind the head goes with the next growth
	pushed  chan struct{}       // closed, and replaced, by a push
}

// NewQueue makes an empty queue.
func NewQueue() *Queue { return &Queue{pushed: make(chan struct{})} }

// Push appends the entries as one.
func (q *Queue) Push(_ context.Context, entries ...application.Entry) error {
	if len(entries) == 0 {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.entries = append(q.entries, entries...)
	close(q.pushed)
	q.pushed = make(chan struct{})
	return nil
}

// Pull takes at most n entries; it returns none if there was none for 2 seconds.
func (q *Queue) Pull(ctx context.Context, n int) ([]application.Entry, error) {
	wait := time.NewTimer(pullWait)
	defer wait.Stop()
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		taken, pushed := q.take(n)
		if len(taken) > 0 {
			return taken, nil
		}
		select {
		case <-pushed:
		case <-wait.C:
			return nil, nil
		case <-ctx.Done():
		}
	}
}

// take takes at most n entries, and returns what tells of the next push.
func (q *Queue) take(n int) ([]application.Entry, <-chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n = min(n, len(q.entries))
	taken := slices.Clone(q.entries[:n])
	q.entries = q.entries[n:]
	if len(q.entries) == 0 {
		q.entries = nil
	}
	return taken, q.pushed
}

// Oldest returns when the entry at the head was marked.
func (q *Queue) Oldest(context.Context) (time.Time, bool, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.entries) == 0 {
		return time.Time{}, false, nil
	}
	return q.entries[0].QueuedAt, true, nil
}

// Length counts the entries.
func (q *Queue) Length(context.Context) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.entries), nil
}
