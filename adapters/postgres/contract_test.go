package postgres

import (
	"testing"

	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/contract"
)

func TestRepositories(t *testing.T) {
	contract.Repositories(t, func(t *testing.T) contract.Store { return emptyStore(t) })
}

func BenchmarkRepositories(b *testing.B) {
	contract.Benchmarks(b, func(b *testing.B) contract.Store { return emptyStore(b) })
}

func emptyStore(t testing.TB) contract.Store {
	t.Helper()
	db := migrated(t, Config{})
	return contract.Store{
		Tasks: NewTaskRepository(db), Workers: NewWorkerRepository(db), Dispatch: NewDispatchRepository(db),
		Queues: NewQueueRepository(db), Search: NewTaskSearch(db), Bulks: NewBulkRepository(db),
		Delete: func(t *testing.T, id domain.TaskID) {
			t.Helper()
			db.calls.SQL.MustExecContext(t.Context(), `DELETE FROM tasks WHERE id = $1`, id.String())
		},
		BreakFilter: func(t *testing.T, id domain.BulkID) {
			t.Helper()
			db.calls.SQL.MustExecContext(t.Context(), `UPDATE bulks SET filter = '{"owner": "a"}' WHERE id = $1`, id.String())
		},
	}
}
