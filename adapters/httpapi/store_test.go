package httpapi_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/adapters/memory"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// memoryStore is the least TaskRepository that the API's use cases need.
type memoryStore struct {
	application.TaskRepository
	mu    sync.Mutex
	tasks map[domain.TaskID]*domain.Task
}

func (s *memoryStore) Add(_ context.Context, tasks ...*domain.Task) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range tasks {
		t.MarkStored()
		s.tasks[t.ID()] = t.Clone()
	}
	return nil
}

func (s *memoryStore) Get(_ context.Context, id domain.TaskID) (*domain.Task, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t, ok := s.tasks[id]; ok {
		return t.Clone(), nil
	}
	return nil, domain.ErrTaskNotFound
}

func (s *memoryStore) Save(ctx context.Context, t *domain.Task) error { return s.Add(ctx, t) }

func (s *memoryStore) List(_ context.Context, q application.TaskQuery) ([]*domain.Task, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*domain.Task
	for _, t := range s.tasks {
		if (len(q.Statuses) == 0 || slices.Contains(q.Statuses, t.Status())) &&
			(q.Before == domain.TaskID{} || t.ID().String() < q.Before.String()) {
			out = append(out, t.Clone())
		}
	}
	slices.SortFunc(out, func(a, b *domain.Task) int { return strings.Compare(b.ID().String(), a.ID().String()) })
	return out[:min(len(out), q.Limit)], nil
}

type systemClock struct{}

func (systemClock) Now() time.Time { return time.Now() }

// openStores opens an empty store and queue.
func openStores(*testing.T) (application.TaskRepository, application.Queue, application.Clock) {
	s := &memoryStore{tasks: map[domain.TaskID]*domain.Task{}}
	return s, memory.NewQueue(), systemClock{}
}
