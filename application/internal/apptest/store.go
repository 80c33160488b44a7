package apptest

import (
	"context"
	"errors"
	"sync"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// FakeStore is the state from which the mocks of a repository answer.
type FakeStore struct {
	mu       sync.Mutex
	tasks    map[domain.TaskID]domain.TaskState
	Attempts map[domain.TaskID][]domain.Attempt // that saves came with
	queues   map[domain.QueueName]*domain.QueueSettings
}

func NewFakeStore() *FakeStore {
	return &FakeStore{
		tasks: map[domain.TaskID]domain.TaskState{}, Attempts: map[domain.TaskID][]domain.Attempt{},
		queues: map[domain.QueueName]*domain.QueueSettings{},
	}
}

func (s *FakeStore) Put(t *domain.Task) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tasks[t.ID()] = t.State()
}

func (s *FakeStore) State(id domain.TaskID) domain.TaskState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tasks[id]
}

func (s *FakeStore) GetMany(ctx context.Context, ids ...domain.TaskID) ([]*domain.Task, error) {
	var found []*domain.Task
	for _, id := range ids {
		if t, err := s.Get(ctx, id); err == nil {
			found = append(found, t)
		}
	}
	return found, nil
}

// change is a change by somebody else.
func (s *FakeStore) Change(id domain.TaskID, change func(*domain.Task) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.locked(id, func(t *domain.Task) error {
		if err := change(t); err != nil {
			return err
		}
		s.tasks[id] = t.State()
		return nil
	})
}

// locked calls do with the task, while the caller has the lock.
func (s *FakeStore) locked(id domain.TaskID, do func(*domain.Task) error) error {
	state, ok := s.tasks[id]
	if !ok {
		return domain.ErrTaskNotFound
	}
	t, err := domain.Restore(state)
	if err != nil {
		return err
	}
	return do(t)
}

func (s *FakeStore) Get(_ context.Context, id domain.TaskID) (found *domain.Task, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	err = s.locked(id, func(t *domain.Task) error {
		found = t
		return nil
	})
	return found, err
}

func (s *FakeStore) Save(_ context.Context, t *domain.Task) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.locked(t.ID(), func(stored *domain.Task) error {
		if stored.Version() != t.StoredVersion() {
			return domain.ErrConflict
		}
		s.tasks[t.ID()] = t.State()
		s.Attempts[t.ID()] = append(s.Attempts[t.ID()], t.EndedAttempts()...)
		t.MarkStored()
		return nil
	})
}

func (s *FakeStore) Claim(_ context.Context, c application.ClaimRequest) (application.ClaimResult, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var claimed application.ClaimResult
	limited := map[domain.QueueName]*application.LimitedQueue{}
	for _, id := range c.IDs {
		err := s.locked(id, func(t *domain.Task) error {
			if q, ok := s.queues[t.Queue()]; ok && q.Limited() && t.Status() == domain.StatusPending {
				if limited[q.Name] == nil {
					limited[q.Name] = &application.LimitedQueue{Name: q.Name}
				}
				if a := q.Admit([]domain.TaskID{id}, s.running(q.Name), c.Now); len(a.Refused) > 0 {
					limited[q.Name].Refused = append(limited[q.Name].Refused, id)
					return nil
				}
			}
			if err := t.Claim(c.Claim, c.Now); err != nil {
				return err
			}
			t.MarkStored()
			s.tasks[id] = t.State()
			claimed.Tasks = append(claimed.Tasks, t)
			return nil
		})
		switch {
		case errors.Is(err, domain.ErrTaskNotFound):
			claimed.Unknown = append(claimed.Unknown, id)
		case err != nil:
			claimed.Skipped = append(claimed.Skipped, id)
		}
	}
	for name, l := range limited {
		l.Capacity = s.queues[name].Capacity(s.running(name), c.Now)
		claimed.Limited = append(claimed.Limited, *l)
	}
	return claimed, nil
}

// running counts the tasks of a queue that are processing, while the caller has the lock.
func (s *FakeStore) running(name domain.QueueName) (n int) {
	for _, t := range s.tasks {
		if t.Queue == name && t.Status == domain.StatusProcessing {
			n++
		}
	}
	return n
}

// limit sets what is set of a queue.
func (s *FakeStore) Limit(q domain.QueueSettings) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queues[q.Name] = &q
}

// FakeSignals is what the mocks of Signals send through: whoever listens hears it.
type FakeSignals struct {
	Sent Record[application.Signal]

	mu        sync.Mutex
	listening map[chan application.Signal]bool
}

func NewFakeSignals() *FakeSignals {
	return &FakeSignals{listening: map[chan application.Signal]bool{}}
}

func (a *FakeSignals) Send(s application.Signal) {
	a.Sent.Add(s)
	a.mu.Lock()
	defer a.mu.Unlock()
	for heard := range a.listening {
		heard <- s
	}
}

func (a *FakeSignals) Listen(ctx context.Context, ready func(), hear func(application.Signal)) error {
	heard := make(chan application.Signal, 10_000)
	a.set(heard, true)
	defer a.set(heard, false)
	ready()
	for {
		select {
		case s := <-heard:
			hear(s)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (a *FakeSignals) set(heard chan application.Signal, listens bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if delete(a.listening, heard); listens {
		a.listening[heard] = true
	}
}

// Listening counts those who listen.
func (a *FakeSignals) Listening() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.listening)
}
