package postgres

import (
	"testing"

	"github.com/millrace/millrace/test/contract"
)

func TestRepositories(t *testing.T) {
	contract.Repositories(t, func(t *testing.T) contract.Store {
		db := migrated(t, Config{})
		return contract.Store{
			Tasks: NewTaskRepository(db), Workers: NewWorkerRepository(db), Dispatch: NewDispatchRepository(db),
			Queues: NewQueueRepository(db), Search: NewTaskSearch(db), Bulks: NewBulkRepository(db),
		}
	})
}
