package sqlite_test

import (
	"encoding/hex"
	"log/slog"
	"math"
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
		Delete: func(t *testing.T, id domain.TaskID) {
			t.Helper()
			writer, _ := sqlite.Pools(db)
			writer.MustExecContext(t.Context(), `DELETE FROM tasks WHERE id = ?`, id[:])
		},
		Double: func(t *testing.T, id domain.TaskID) {
			t.Helper()
			writer, _ := sqlite.Pools(db)
			writer.MustExecContext(t.Context(), `INSERT INTO attempts
				SELECT task_id, number + 1, worker, started_at, ended_at, outcome, error FROM attempts WHERE task_id = ?`, id[:])
		},
		Refuse: func(t *testing.T, id domain.TaskID) {
			t.Helper()
			writer, _ := sqlite.Pools(db)
			digits := hex.EncodeToString(id[:])
			writer.MustExecContext(t.Context(), "CREATE TRIGGER refuse_"+digits+" BEFORE UPDATE ON tasks WHEN NEW.id = x'"+digits+
				"' BEGIN SELECT RAISE(ABORT, 'no'); END")
		},
		RefuseRecords: func(t *testing.T) func() {
			t.Helper()
			writer, _ := sqlite.Pools(db)
			writer.MustExecContext(t.Context(), "ALTER TABLE attempts RENAME TO elsewhere")
			return func() { writer.MustExecContext(t.Context(), "ALTER TABLE elsewhere RENAME TO attempts") }
		},
		RefuseBulk: func(t *testing.T, id domain.BulkID) {
			t.Helper()
			writer, _ := sqlite.Pools(db)
			writer.MustExecContext(t.Context(), "CREATE TRIGGER refuse_bulk BEFORE UPDATE ON bulks WHEN NEW.id = x'"+hex.EncodeToString(id[:])+
				"' BEGIN SELECT RAISE(ABORT, 'no'); END")
		},
		Damage: func(t *testing.T, id domain.TaskID, column string, latest bool) error {
			t.Helper()
			writer, _ := sqlite.Pools(db)
			value := int64(math.MinInt64)
			if latest {
				value = math.MaxInt64
			}
			_, err := writer.ExecContext(t.Context(), "UPDATE tasks SET "+column+" = ? WHERE id = ?", value, id[:])
			return err
		},
		Unprotect: func(t *testing.T) {
			t.Helper()
			writer, _ := sqlite.Pools(db)
			writer.MustExecContext(t.Context(), "DROP TRIGGER IF EXISTS tasks_readable_update")
		},
		BreakMetadata: func(t *testing.T, id domain.TaskID) {
			t.Helper()
			writer, _ := sqlite.Pools(db)
			writer.MustExecContext(t.Context(), "DROP TRIGGER IF EXISTS tasks_paired_update")
			writer.MustExecContext(t.Context(), `UPDATE tasks SET metadata = '{"a": 1}' WHERE id = ?`, id[:])
		},
		BreakKey: func(t *testing.T, k application.IdempotencyKey) {
			t.Helper()
			writer, _ := sqlite.Pools(db)
			writer.MustExecContext(t.Context(), "UPDATE idempotency_keys SET task_ids = x'' WHERE owner = ? AND key = ?", k.Owner, k.Key)
		},
		BreakFilter: func(t *testing.T, id domain.BulkID) {
			t.Helper()
			writer, _ := sqlite.Pools(db)
			writer.MustExecContext(t.Context(), `UPDATE bulks SET filter = '{"owner": "a"}' WHERE id = ?`, id[:])
		},
	}
}

func addTask(t *testing.T, store contract.Store) *domain.Task {
	t.Helper()
	task, err := domain.NewTask(domain.TaskSpec{Message: "Hello World", MaxAttempts: new(3)}, time.Now())
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
