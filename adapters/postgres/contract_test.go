package postgres

import (
	"fmt"
	"testing"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/contract"
)

func TestRepositories(t *testing.T) {
	contract.Repositories(t, func(t *testing.T) contract.Store { return emptyStore(t) })
}

func TestRowLocks(t *testing.T) {
	contract.RowLocks(t, func(t *testing.T) (contract.Store, contract.Locks) {
		db := migrated(t, Config{})
		return storeOn(db), locksOf(db)
	})
}

// locksOf lock rows in transactions of their own.
func locksOf(db *DB) contract.Locks {
	lock := func(t *testing.T, from string, args ...any) (release func()) {
		t.Helper()
		tx := db.beats.SQL.MustBegin()
		var rows []int
		if err := tx.Select(&rows, "SELECT 1 FROM "+from+" FOR UPDATE", args...); err != nil || len(rows) != 1 {
			t.Fatalf("lock: %d rows, %v", len(rows), err)
		}
		release = func() { _ = tx.Rollback() } // of no effect the second time
		t.Cleanup(release)
		return release
	}
	return contract.Locks{
		Task: func(t *testing.T, id domain.TaskID) func() { return lock(t, "tasks WHERE id = $1", id.String()) },
		Queue: func(t *testing.T, name domain.QueueName) func() {
			return lock(t, "queues WHERE name = $1", string(name))
		},
		Key: func(t *testing.T, k application.IdempotencyKey) func() {
			return lock(t, "idempotency_keys WHERE owner = $1 AND key = $2", k.Owner, k.Key)
		},
		Worker: func(t *testing.T, id domain.WorkerID) func() { return lock(t, "workers WHERE id = $1", string(id)) },
	}
}

func BenchmarkRepositories(b *testing.B) {
	contract.Benchmarks(b, func(b *testing.B) contract.Store { return emptyStore(b) })
}

func emptyStore(t testing.TB) contract.Store {
	t.Helper()
	return storeOn(migrated(t, Config{}))
}

func storeOn(db *DB) contract.Store {
	return contract.Store{
		Tasks: NewTaskRepository(db), Workers: NewWorkerRepository(db), Dispatch: NewDispatchRepository(db),
		Queues: NewQueueRepository(db), Search: NewTaskSearch(db), Bulks: NewBulkRepository(db),
		Delete: func(t *testing.T, id domain.TaskID) {
			t.Helper()
			db.calls.SQL.MustExecContext(t.Context(), `DELETE FROM tasks WHERE id = $1`, id.String())
		},
		Double: func(t *testing.T, id domain.TaskID) {
			t.Helper()
			db.calls.SQL.MustExecContext(t.Context(), `INSERT INTO attempts
				SELECT task_id, number + 1, worker, started_at, ended_at, outcome, error FROM attempts WHERE task_id = $1`, id.String())
		},
		Refuse: func(t *testing.T, id domain.TaskID) {
			t.Helper()
			db.calls.SQL.MustExecContext(t.Context(), fmt.Sprintf(`ALTER TABLE tasks ADD CHECK (id <> '%s') NOT VALID`, id))
		},
		Damage: func(t *testing.T, id domain.TaskID, column string, latest bool) error {
			t.Helper()
			value := "-infinity"
			if latest {
				value = "infinity"
			}
			_, err := db.calls.SQL.ExecContext(t.Context(), fmt.Sprintf("UPDATE tasks SET %s = '%s' WHERE id = '%s'", column, value, id))
			return err
		},
		Unprotect: func(t *testing.T) {
			t.Helper()
			db.calls.SQL.MustExecContext(t.Context(), "ALTER TABLE tasks DROP CONSTRAINT IF EXISTS tasks_times_in_range")
		},
		BreakFilter: func(t *testing.T, id domain.BulkID) {
			t.Helper()
			db.calls.SQL.MustExecContext(t.Context(), `UPDATE bulks SET filter = '{"owner": "a"}' WHERE id = $1`, id.String())
		},
	}
}
