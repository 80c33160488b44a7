package application_test

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// pullWait is how long a pull waits for an entry, at most.
const pullWait = 5 * time.Second

// line is the queue from which the mocks of one answer.
type line struct {
	mu     sync.Mutex
	lists  map[application.List][]application.Entry
	pushed chan struct{} // holds a token after a push
}

func newLine() *line {
	return &line{lists: map[application.List][]application.Entry{}, pushed: make(chan struct{}, 1)}
}

func (l *line) push(_ context.Context, entries ...application.Entry) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range entries {
		l.lists[e.List] = append(l.lists[e.List], e)
	}
	l.tell()
	return nil
}

func (l *line) putBack(_ context.Context, entries ...application.Entry) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range slices.Backward(entries) {
		l.lists[e.List] = slices.Insert(l.lists[e.List], 0, e)
	}
	l.tell()
	return nil
}

func (l *line) tell() {
	select {
	case l.pushed <- struct{}{}:
	default:
	}
}

func (l *line) pull(ctx context.Context, p application.PullRequest) ([]application.Entry, error) {
	timeout := time.After(p.Wait)
	for {
		if taken := l.take(p); len(taken) > 0 {
			return taken, nil
		}
		select {
		case <-l.pushed:
		case <-timeout:
			return nil, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// take takes from the first list that has any.
func (l *line) take(p application.PullRequest) []application.Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, q := range p.Queues {
		for priority := domain.MaxPriority; priority >= 0; priority-- {
			list := application.List{Queue: q, Priority: priority}
			if has := l.lists[list]; len(has) > 0 {
				taken := has[:min(p.Max, len(has))]
				l.lists[list] = has[len(taken):]
				return taken
			}
		}
	}
	return nil
}

// ids returns what is on the queue of that name, as it would be pulled.
func (l *line) ids(q domain.QueueName) []domain.TaskID {
	l.mu.Lock()
	defer l.mu.Unlock()
	ids := []domain.TaskID{}
	for priority := domain.MaxPriority; priority >= 0; priority-- {
		for _, e := range l.lists[application.List{Queue: q, Priority: priority}] {
			ids = append(ids, e.ID)
		}
	}
	return ids
}
