package sqlite_test

import (
	"errors"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/millrace/millrace/adapters/sqlite"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/contract"
)

// open opens a file and brings it to its schema.
func open(t testing.TB, path string) (*sqlite.DB, func()) {
	t.Helper()
	db, closeDB, err := sqlite.Open(path)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(closeDB)
	if err := sqlite.Migrate(t.Context(), db, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatalf("migrate: %v", err)
	}
	return db, closeDB
}

// defaultList is where tasks wait that say nothing else.
var defaultList = application.Lane{Queue: domain.DefaultQueue}

func fresh(t testing.TB) string { return filepath.Join(t.TempDir(), "millrace.db") }

func storeOn(db *sqlite.DB) contract.Store {
	return contract.Store{
		Tasks: sqlite.NewTaskRepository(db), Search: sqlite.NewTaskSearch(db), Workers: sqlite.NewWorkerRepository(db),
		Dispatch: sqlite.NewDispatchRepository(db), Queues: sqlite.NewQueueRepository(db), Bulks: sqlite.NewBulkRepository(db),
	}
}

func TestRepositories(t *testing.T) {
	contract.Repositories(t, func(t *testing.T) contract.Store {
		db, _ := open(t, fresh(t))
		return storeOn(db)
	})
}

func TestRecover_RescuesWhatAnEarlierProcessHeld(t *testing.T) {
	db, _ := open(t, fresh(t))
	store := storeOn(db)
	dead := beatOnce(t, store, time.Minute)
	held, waiting := addTask(t, store), addTask(t, store)
	claim := application.ClaimRequest{
		Claim: domain.Claim{Worker: dead, Beat: 1, Timeout: time.Hour}, IDs: []domain.TaskID{held.ID()}, Now: time.Now(),
	}
	if claimed, err := store.Tasks.Claim(t.Context(), claim); err != nil || len(claimed.Tasks) != 1 {
		t.Fatalf("claim: %d tasks, %v", len(claimed.Tasks), err)
	}

	taken, err := sqlite.Recover(t.Context(), db, func(task *domain.Task) error {
		return task.Rescue(domain.RetryPolicy{MaxRescues: 3}, time.Now())
	})

	if err != nil || taken != 1 {
		t.Fatalf("recover: %d tasks, %v; want 1", taken, err)
	}
	for _, task := range []*domain.Task{held, waiting} {
		if got, err := store.Tasks.Get(t.Context(), task.ID()); err != nil || got.Status() != domain.StatusPending {
			t.Errorf("task %s: %v, %v", task.ID(), got, err)
		}
	}
	attempts, err := store.Tasks.Attempts(t.Context(), held.ID())
	if err != nil || len(attempts) != 1 || attempts[0].Outcome != domain.OutcomeLost || attempts[0].Worker != dead {
		t.Errorf("attempts: %+v, %v; want one that was lost", attempts, err)
	}
	if _, err := store.Tasks.Claim(t.Context(), claim); !errors.Is(err, domain.ErrWorkerStale) {
		t.Errorf("claim of a forgotten worker: %v, want ErrWorkerStale", err)
	}
}

func addTask(t *testing.T, store contract.Store) *domain.Task {
	t.Helper()
	task, err := domain.NewTask(domain.TaskSpec{Message: "Hello World", MaxAttempts: 3}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Tasks.Add(t.Context(), task); err != nil {
		t.Fatalf("add: %v", err)
	}
	return task
}

// beatOnce registers a new worker.
func beatOnce(t testing.TB, store contract.Store, interval time.Duration) domain.WorkerID {
	t.Helper()
	id := domain.NewWorkerID()
	renew(t, store, id, 1, interval)
	return id
}

func renew(t testing.TB, store contract.Store, id domain.WorkerID, number int64, interval time.Duration) {
	t.Helper()
	if _, err := store.Workers.Beat(t.Context(), application.Beat{
		Worker: application.WorkerInfo{ID: id, Host: "box", PID: 7, Version: "v1", Started: time.Unix(1, 0),
			Queues: []domain.QueueName{"b", "a"}, Capacity: 9, Running: 2},
		Number: number, Interval: interval,
	}); err != nil {
		t.Fatalf("beat: %v", err)
	}
}
