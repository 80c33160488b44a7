package httpapi_test

import (
	"context"
	"sync"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// faultStore is a store that a test can make fail, panic or wait.
type faultStore struct {
	application.TaskRepository
	search application.TaskSearch
	queues application.QueueRepository
	bulks  application.BulkRepository

	mu     sync.Mutex
	before func(ctx context.Context) error
	many   func() error // before GetMany
}

// onGetMany has the function called before tasks are read by their ids.
func (s *faultStore) onGetMany(before func() error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.many = before
}

func (s *faultStore) GetMany(ctx context.Context, ids ...domain.TaskID) ([]*domain.Task, []domain.TaskID, error) {
	s.mu.Lock()
	before := s.many
	s.mu.Unlock()
	if before != nil {
		if err := before(); err != nil {
			return nil, nil, err
		}
	}
	return s.TaskRepository.GetMany(ctx, ids...)
}

func newFaultStore(on stores) *faultStore {
	return &faultStore{TaskRepository: on.tasks, search: on.search, queues: on.queues, bulks: on.bulks}
}

func (s *faultStore) set(before func(ctx context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = before
}

func (s *faultStore) intercept(ctx context.Context) error {
	s.mu.Lock()
	before := s.before
	s.mu.Unlock()
	if before == nil {
		return nil
	}
	return before(ctx)
}

func (s *faultStore) Add(ctx context.Context, tasks ...*domain.Task) error {
	if err := s.intercept(ctx); err != nil {
		return err
	}
	return s.TaskRepository.Add(ctx, tasks...)
}

func (s *faultStore) AddOnce(ctx context.Context, k application.IdempotencyKey, tasks ...*domain.Task) ([]*domain.Task, []domain.TaskID, error) {
	if err := s.intercept(ctx); err != nil {
		return nil, nil, err
	}
	return s.TaskRepository.AddOnce(ctx, k, tasks...)
}

func (s *faultStore) Get(ctx context.Context, id domain.TaskID) (*domain.Task, error) {
	if err := s.intercept(ctx); err != nil {
		return nil, err
	}
	return s.TaskRepository.Get(ctx, id)
}

// The other ports of the store, with the same faults.
type (
	faultSearch struct{ *faultStore }
	faultQueues struct{ *faultStore }
	faultBulks  struct{ *faultStore }
)

func (s faultSearch) List(ctx context.Context, q application.TaskQuery) (application.SearchResult, error) {
	if err := s.intercept(ctx); err != nil {
		return application.SearchResult{}, err
	}
	return s.search.List(ctx, q)
}

func (s faultSearch) Count(ctx context.Context, q application.TaskQuery) (int, bool, error) {
	if err := s.intercept(ctx); err != nil {
		return 0, false, err
	}
	return s.search.Count(ctx, q)
}

func (s faultQueues) List(ctx context.Context, q application.QueueQuery) ([]application.QueueInfo, error) {
	if err := s.intercept(ctx); err != nil {
		return nil, err
	}
	return s.queues.List(ctx, q)
}

func (s faultQueues) Get(ctx context.Context, name domain.QueueName) (application.QueueInfo, error) {
	if err := s.intercept(ctx); err != nil {
		return application.QueueInfo{}, err
	}
	return s.queues.Get(ctx, name)
}

func (s faultQueues) Change(ctx context.Context, name domain.QueueName, decide func(*domain.QueueSettings) error) error {
	if err := s.intercept(ctx); err != nil {
		return err
	}
	return s.queues.Change(ctx, name, decide)
}

func (s faultQueues) Takers(ctx context.Context, name domain.QueueName) ([]application.Taker, error) {
	return s.queues.Takers(ctx, name)
}

func (s faultQueues) Ahead(ctx context.Context, t *domain.Task, limit int) (int, error) {
	return s.queues.Ahead(ctx, t, limit)
}

func (s faultBulks) Add(ctx context.Context, b domain.Bulk) error {
	if err := s.intercept(ctx); err != nil {
		return err
	}
	return s.bulks.Add(ctx, b)
}

func (s faultBulks) Get(ctx context.Context, id domain.BulkID) (domain.Bulk, error) {
	if err := s.intercept(ctx); err != nil {
		return domain.Bulk{}, err
	}
	return s.bulks.Get(ctx, id)
}

func (s faultBulks) Step(ctx context.Context, step application.BulkStep) (application.BulkStepResult, error) {
	return s.bulks.Step(ctx, step)
}

func (s faultBulks) AddOnce(ctx context.Context, k application.IdempotencyKey, b domain.Bulk) (*domain.Bulk, error) {
	if err := s.intercept(ctx); err != nil {
		return nil, err
	}
	return s.bulks.AddOnce(ctx, k, b)
}

func (s faultBulks) List(ctx context.Context, q application.BulkQuery) (application.BulkList, error) {
	if err := s.intercept(ctx); err != nil {
		return application.BulkList{}, err
	}
	return s.bulks.List(ctx, q)
}

func (s faultBulks) Change(ctx context.Context, id domain.BulkID, decide func(domain.Bulk) (domain.Bulk, error)) (domain.Bulk, error) {
	if err := s.intercept(ctx); err != nil {
		return domain.Bulk{}, err
	}
	return s.bulks.Change(ctx, id, decide)
}
