package httpapi

import (
	"context"

	"github.com/millrace/millrace/adapters/httpapi/internal/admission"
	"github.com/millrace/millrace/adapters/httpapi/internal/api"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/usecase"
	"github.com/millrace/millrace/domain"
)

// UseCases is what the API can do. All are needed.
type UseCases struct {
	Submit    *usecase.SubmitTasks
	Get       *usecase.GetTask
	List      *usecase.ListTasks
	Cancel    *usecase.CancelTask
	Reopen    *usecase.ReopenTask
	Delete    *usecase.DeleteTask
	Wait      *usecase.WaitTask
	Attempts  *usecase.ListAttempts
	Bulk      *usecase.BulkTasks
	Queues    *usecase.ManageQueues
	Explain   *usecase.ExplainTask
	Readiness *usecase.CheckReadiness
}

// StoreObserver hears the result of every call of the store, so that an outage can
// be reported whatever the route.
type StoreObserver interface {
	StoreCalled(ctx context.Context, call application.Loop, err error)
}

// endpoints implements the generated interface, a file for each resource.
type endpoints struct {
	responder
	uc          UseCases
	store       StoreObserver
	storeCalls  *admission.Limiter // in progress
	batches     *admission.Limiter // in progress
	bodies      bodyReader
	batchBodies bodyReader
	docs        []byte // the page
}

var _ api.ServerInterface = (*endpoints)(nil)

// withStoreSlot makes a call of the store, unless too many are in progress already:
// a store that has become slow must not collect requests, and their bodies, in memory.
func withStoreSlot[T any](ctx context.Context, e *endpoints, kind application.Loop, call func(ctx context.Context) (T, error)) (T, error) {
	if !e.storeCalls.Acquire() {
		var none T
		return none, overloaded.errorf("too many requests are waiting for the store; nothing was done")
	}
	defer e.storeCalls.Release()
	got, err := call(ctx)
	e.store.StoreCalled(ctx, kind, err)
	return got, err
}

// parseID reads an id in the path. There, what is not an id is malformed, not invalid.
func parseID(s string) (domain.TaskID, error) {
	id, err := domain.ParseTaskID(s)
	if err != nil {
		return id, malformed.parametersOf(err)
	}
	return id, nil
}
