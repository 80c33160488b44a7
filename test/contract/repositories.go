// Package contract holds the suites that every adapter of a port passes. They
// are the ports' comments, sentence by sentence, and know no adapter by name: a
// test of an adapter opens an empty store and calls the suite.
package contract

import (
	"testing"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// Store is one store behind the ports of the record.
type Store struct {
	Tasks    application.TaskRepository
	Search   application.TaskSearch
	Workers  application.WorkerRepository
	Dispatch application.DispatchRepository
	Queues   application.QueueRepository
	Bulks    application.BulkRepository
	// Delete deletes a task as operators do, with a statement of their own.
	Delete func(t *testing.T, id domain.TaskID)
	// Double records the task's only attempt once more, under the next number, by hand.
	Double func(t *testing.T, id domain.TaskID)
	// BreakFilter makes the stored filter of a bulk action one that cannot be read.
	BreakFilter func(t *testing.T, id domain.BulkID)
	// Refuse makes the store refuse every change of a task, as a CHECK or a trigger of
	// the operator's does.
	Refuse func(t *testing.T, id domain.TaskID)
	// RefuseRecords makes the store fail to record attempts, as without the right to.
	RefuseRecords func(t *testing.T) (allow func())
	// RefuseBulk makes it so refuse every change of a bulk action.
	RefuseBulk func(t *testing.T, id domain.BulkID)
	// Damage makes the time at which a task is to run, or any time else, one that cannot be
	// read, as one who does not know the schema does: the earliest or the latest that the
	// column holds.
	Damage func(t *testing.T, id domain.TaskID, column string, latest bool) error
	// Unprotect takes away what the schema has against that.
	Unprotect func(t *testing.T)
	// BreakMetadata makes the metadata of the task no pairs of strings, whatever the schema
	// has against that.
	BreakMetadata func(t *testing.T, id domain.TaskID)
	// BreakKey makes the idempotency key name no list of ids, or another number of them.
	BreakKey func(t *testing.T, k application.IdempotencyKey)
}

// check is one promise of a port, tried on an empty store.
type check func(t *testing.T, s Store)

// Repositories checks the adapters of the ports in Store that share a store. open
// returns an empty store for each check and registers its cleanup; checks run in
// parallel. The store's time has to be the system's to within 100 ms.
func Repositories(t *testing.T, open func(t *testing.T) Store) {
	for _, checks := range []map[string]check{
		taskChecks, onceChecks, attemptChecks, refusalChecks, damageChecks, claimChecks, limitChecks, settingsChecks, searchChecks, bulkChecks,
		workerChecks, dispatchChecks, sweepChecks, bytesChecks,
	} {
		for name, check := range checks {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				check(t, open(t))
			})
		}
	}
}
