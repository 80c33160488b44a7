package apptest

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// PullWait is how long a pull waits for an entry, at most.
const PullWait = 5 * time.Second

// FakeQueue is the queue from which the mocks of one answer.
type FakeQueue struct {
	mu     sync.Mutex
	lists  map[application.Lane][]application.Entry
	pushed chan struct{} // holds a token after a push
}

func NewFakeQueue() *FakeQueue {
	return &FakeQueue{lists: map[application.Lane][]application.Entry{}, pushed: make(chan struct{}, 1)}
}

func (l *FakeQueue) Push(_ context.Context, entries ...application.Entry) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range entries {
		l.lists[e.Lane] = append(l.lists[e.Lane], e)
	}
	l.tell()
	return nil
}

func (l *FakeQueue) PutBack(_ context.Context, entries ...application.Entry) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range slices.Backward(entries) {
		l.lists[e.Lane] = slices.Insert(l.lists[e.Lane], 0, e)
	}
	l.tell()
	return nil
}

func (l *FakeQueue) tell() {
	select {
	case l.pushed <- struct{}{}:
	default:
	}
}

func (l *FakeQueue) Pull(ctx context.Context, p application.PullRequest) ([]application.Entry, error) {
	timeout := time.After(p.Wait)
	for {
		if taken := l.Take(p); len(taken) > 0 {
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

// Take takes from the first list that has any.
func (l *FakeQueue) Take(p application.PullRequest) []application.Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, q := range p.Queues {
		for priority := domain.MaxPriority; priority >= 0; priority-- {
			list := application.Lane{Queue: q, Priority: priority}
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
func (l *FakeQueue) IDs(q domain.QueueName) []domain.TaskID {
	l.mu.Lock()
	defer l.mu.Unlock()
	ids := []domain.TaskID{}
	for priority := domain.MaxPriority; priority >= 0; priority-- {
		for _, e := range l.lists[application.Lane{Queue: q, Priority: priority}] {
			ids = append(ids, e.ID)
		}
	}
	return ids
}
