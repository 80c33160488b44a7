package httpapi

import (
	"context"
	"net/http"

	"github.com/millrace/millrace/adapters/httpapi/internal/api"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/usecase"
)

// SubmitBatch is POST /tasks/batch.
func (e *endpoints) SubmitBatch(w http.ResponseWriter, r *http.Request, _ api.SubmitBatchParams) {
	e.handle(w, r, func() error {
		if !e.batches.Acquire() {
			return overloaded.errorf("too many batches are in progress; nothing was done")
		}
		defer e.batches.Release()
		in, err := submission(r)
		if err != nil {
			return err
		}
		body, err := e.batchBodies.read(w, r, typeJSON)
		if err != nil {
			return err
		}
		if err := decodeBatch(body, traceParent(r), &in); err != nil {
			return err
		}
		done, err := e.submit(w, r, in)
		if err != nil {
			return err
		}
		writeTasks(w, http.StatusCreated, done.Tasks, pageEnd{rules: e.uc.Expiry.Rules(r.Context(), done.Tasks...)})
		return nil
	})
}

// submit stores the tasks, and says if they had been stored before.
func (e *endpoints) submit(w http.ResponseWriter, r *http.Request, in usecase.SubmitTasksInput) (usecase.SubmitResult, error) {
	done, err := withStoreSlot(r.Context(), e, application.CallSubmit, func(ctx context.Context) (usecase.SubmitResult, error) { return e.uc.Submit.Run(ctx, in) })
	if done.Replayed {
		w.Header().Set(headerReplayed, "true")
	}
	return done, err
}
