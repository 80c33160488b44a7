// Package memory has what the embedded mode keeps inside its process: the queue
// and the signals. It knows of no other process.
package memory

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

var _ application.Queue = (*Queue)(nil)

// maxWait is the longest wait of a pull. A pull that returns shows the worker's probe that
// its loop makes progress.
const maxWait = 2 * time.Second

// Queue is a queue inside the process. Its entries end with the process, and the
// dispatcher pushes them again. It never fails, and only memory bounds it.
type Queue struct {
	mu     sync.Mutex
	lanes  map[application.Lane]*lane // only those that have entries
	pushed chan struct{}              // closed, and replaced, by a push
}

// lane has the entries of a lane. Those that were put back have a slice of their own, so
// that putting back costs the same however many entries wait.
type lane struct {
	returned []application.Entry // put back; the last is the head of the lane
	pushed   []application.Entry // behind them; popping reslices, and the next growth frees what was popped
}

// NewQueue makes an empty queue.
func NewQueue() *Queue {
	return &Queue{lanes: map[application.Lane]*lane{}, pushed: make(chan struct{})}
}

// Push appends the entries in one step.
func (q *Queue) Push(_ context.Context, entries ...application.Entry) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range entries {
		l := q.lane(e.Lane)
		l.pushed = append(l.pushed, e)
	}
	q.wakePulls(len(entries))
	return nil
}

// PutBack puts the entries at the heads of their lanes in one step.
func (q *Queue) PutBack(_ context.Context, entries ...application.Entry) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range slices.Backward(entries) {
		l := q.lane(e.Lane)
		l.returned = append(l.returned, e)
	}
	q.wakePulls(len(entries))
	return nil
}

// lane returns the lane of that name, and makes it if there is none.
func (q *Queue) lane(name application.Lane) *lane {
	l := q.lanes[name]
	if l == nil {
		l = &lane{}
		q.lanes[name] = l
	}
	return l
}

// wakePulls wakes the pulls that wait.
func (q *Queue) wakePulls(entries int) {
	if entries > 0 {
		close(q.pushed)
		q.pushed = make(chan struct{})
	}
}

// Pull removes entries from the first lane that has any; it waits for at most 2 seconds.
func (q *Queue) Pull(ctx context.Context, p application.PullRequest) ([]application.Entry, error) {
	wait := time.NewTimer(min(p.Wait, maxWait))
	defer wait.Stop()
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		entries, pushed := q.pop(p)
		if len(entries) > 0 {
			return entries, nil
		}
		select {
		case <-pushed:
		case <-wait.C:
			return nil, nil
		case <-ctx.Done():
		}
	}
}

// pop removes entries from the first lane that has any. The channel is closed by the next
// push.
func (q *Queue) pop(p application.PullRequest) ([]application.Entry, <-chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, queue := range p.Queues {
		for priority := domain.MaxPriority; priority >= 0; priority-- {
			name := application.Lane{Queue: queue, Priority: priority}
			if l := q.lanes[name]; l != nil {
				entries := l.pop(p.Max)
				if l.length() == 0 {
					delete(q.lanes, name)
				}
				return entries, q.pushed
			}
		}
	}
	return nil, q.pushed
}

// pop removes at most n entries.
func (l *lane) pop(n int) []application.Entry {
	n = min(n, l.length())
	entries := make([]application.Entry, 0, n)
	for ; n > 0 && len(l.returned) > 0; n-- {
		last := len(l.returned) - 1
		entries = append(entries, l.returned[last])
		l.returned = l.returned[:last]
	}
	if len(l.returned) == 0 {
		l.returned = nil
	}
	entries = append(entries, l.pushed[:n]...)
	l.pushed = l.pushed[n:]
	return entries
}

func (l *lane) length() int { return len(l.returned) + len(l.pushed) }

func (l *lane) head() application.Entry {
	if n := len(l.returned); n > 0 {
		return l.returned[n-1]
	}
	return l.pushed[0]
}

// Oldest returns when the entries at the heads were marked.
func (q *Queue) Oldest(_ context.Context, lanes ...application.Lane) (map[application.Lane]time.Time, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	oldest := make(map[application.Lane]time.Time, len(lanes))
	for _, name := range lanes {
		if l := q.lanes[name]; l != nil {
			oldest[name] = l.head().QueuedAt
		}
	}
	return oldest, nil
}
