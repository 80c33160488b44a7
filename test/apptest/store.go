package apptest

import (
	"context"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"

	"github.com/millrace/millrace/adapters/sqlite"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// Store is the embedded store, in a file of the test's own, from which mocks answer.
// It works in a synctest bubble, if it was opened there.
type Store struct {
	*sqlite.TaskRepository
	Workers *sqlite.WorkerRepository
	Queues  *sqlite.QueueRepository
	t       *testing.T
}

// NewStore opens an empty store.
func NewStore(t *testing.T) *Store {
	t.Helper()
	db, closeDB, err := sqlite.Open(filepath.Join(t.TempDir(), "millrace.db"))
	Must(t, err)
	t.Cleanup(closeDB)
	Must(t, sqlite.Migrate(t.Context(), db, slog.New(slog.DiscardHandler)))
	return &Store{
		TaskRepository: sqlite.NewTaskRepository(db), Workers: sqlite.NewWorkerRepository(db), Queues: sqlite.NewQueueRepository(db), t: t,
	}
}

// Put stores new tasks.
func (s *Store) Put(tasks ...*domain.Task) {
	s.t.Helper()
	Must(s.t, s.Add(context.Background(), tasks...))
}

// State returns the task as it is stored.
func (s *Store) State(id domain.TaskID) domain.TaskState {
	s.t.Helper()
	t, err := s.Get(context.Background(), id)
	Must(s.t, err)
	return t.State()
}

// Change is a change by another process.
func (s *Store) Change(id domain.TaskID, change func(*domain.Task) error) error {
	t, err := s.Get(context.Background(), id)
	if err != nil {
		return err
	}
	if err := change(t); err != nil {
		return err
	}
	return s.Save(context.Background(), t)
}

// Limit stores the settings of a queue.
func (s *Store) Limit(q domain.QueueSettings) {
	s.t.Helper()
	Must(s.t, s.Queues.Change(context.Background(), q.Name, func(stored *domain.QueueSettings) error {
		*stored = q
		return nil
	}))
}

// Queued returns the ids on the queue of that name, in the order in which they would
// be pulled. Nothing else may pull from it meanwhile.
func Queued(t *testing.T, queue application.Queue, name domain.QueueName) []domain.TaskID {
	t.Helper()
	var all []application.Entry
	for {
		entries, err := queue.Pull(context.Background(), application.PullRequest{Queues: []domain.QueueName{name}, Max: 1000})
		Must(t, err)
		if len(entries) == 0 {
			break
		}
		all = append(all, entries...)
	}
	Must(t, queue.PutBack(context.Background(), slices.Clone(all)...))
	ids := make([]domain.TaskID, len(all))
	for i, e := range all {
		ids[i] = e.ID
	}
	return ids
}
