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

// maxWait is how long a pull waits before it returns none: whoever pulls shows by
// that that it is alive.
const maxWait = 2 * time.Second

// Queue is a queue inside the process. Its entries end with the process: the
// dispatcher pushes them again. It never fails, and has no bound but memory.
type Queue struct {
	mu     sync.Mutex
	lists  map[application.Lane]*list // those that have entries
	pushed chan struct{}              // closed, and replaced, by a push
}

// list is a queue of entries. What was put back has a slice of its own, so that
// putting back costs the same however many entries wait.
type list struct {
	back []application.Entry // the last is the head
	rest []application.Entry // append and reslice: what is behind the head goes with the next growth
}

// NewQueue makes an empty queue.
func NewQueue() *Queue {
	return &Queue{lists: map[application.Lane]*list{}, pushed: make(chan struct{})}
}

// Push appends the entries as one.
func (q *Queue) Push(_ context.Context, entries ...application.Entry) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range entries {
		l := q.list(e.Lane)
		l.rest = append(l.rest, e)
	}
	q.tell(len(entries))
	return nil
}

// PutBack puts the entries at the heads of their lists as one.
func (q *Queue) PutBack(_ context.Context, entries ...application.Entry) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range slices.Backward(entries) {
		l := q.list(e.Lane)
		l.back = append(l.back, e)
	}
	q.tell(len(entries))
	return nil
}

// list returns a list that is to get an entry.
func (q *Queue) list(name application.Lane) *list {
	l := q.lists[name]
	if l == nil {
		l = &list{}
		q.lists[name] = l
	}
	return l
}

// tell wakes the pulls that wait.
func (q *Queue) tell(entries int) {
	if entries > 0 {
		close(q.pushed)
		q.pushed = make(chan struct{})
	}
}

// Pull takes entries from the first list that has any; it waits for 2 seconds at
// the most.
func (q *Queue) Pull(ctx context.Context, p application.PullRequest) ([]application.Entry, error) {
	wait := time.NewTimer(min(p.Wait, maxWait))
	defer wait.Stop()
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		taken, pushed := q.take(p)
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

// take takes what there is, and returns what tells of the next push.
func (q *Queue) take(p application.PullRequest) ([]application.Entry, <-chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, queue := range p.Queues {
		for priority := domain.MaxPriority; priority >= 0; priority-- {
			name := application.Lane{Queue: queue, Priority: priority}
			if l := q.lists[name]; l != nil {
				taken := l.take(p.Max)
				if l.length() == 0 {
					delete(q.lists, name)
				}
				return taken, q.pushed
			}
		}
	}
	return nil, q.pushed
}

// take takes at most n entries.
func (l *list) take(n int) []application.Entry {
	n = min(n, l.length())
	taken := make([]application.Entry, 0, n)
	for ; n > 0 && len(l.back) > 0; n-- {
		last := len(l.back) - 1
		taken = append(taken, l.back[last])
		l.back = l.back[:last]
	}
	if len(l.back) == 0 {
		l.back = nil
	}
	taken = append(taken, l.rest[:n]...)
	l.rest = l.rest[n:]
	return taken
}

func (l *list) length() int { return len(l.back) + len(l.rest) }

func (l *list) head() application.Entry {
	if n := len(l.back); n > 0 {
		return l.back[n-1]
	}
	return l.rest[0]
}

// Oldest returns when the entries at the heads were marked.
func (q *Queue) Oldest(_ context.Context, lists ...application.Lane) (map[application.Lane]time.Time, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	oldest := make(map[application.Lane]time.Time, len(lists))
	for _, name := range lists {
		if l := q.lists[name]; l != nil {
			oldest[name] = l.head().QueuedAt
		}
	}
	return oldest, nil
}

// Length counts the entries of the list.
func (q *Queue) Length(_ context.Context, name application.Lane) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if l := q.lists[name]; l != nil {
		return l.length(), nil
	}
	return 0, nil
}
