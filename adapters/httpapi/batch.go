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
		if err := decodeBatch(body, traceContextOf(r), &in); err != nil {
			return err
		}
		done, err := e.submit(w, r, in)
		if err != nil {
			return err
		}
		return e.writeSubmitted(w, r, done)
	})
}

// writeSubmitted sends the tasks of a batch. Those of a replay may have results, and be
// more than is kept in memory at once: they are sent while they are read. What goes wrong once
// the answer has begun cuts it off, and the client repeats the request.
func (e *endpoints) writeSubmitted(w http.ResponseWriter, r *http.Request, done usecase.SubmitResult) error {
	out := beginTasks(w, http.StatusCreated)
	defer out.release()
	tasks, rest := done.Tasks, done.Rest
	for out.add(tasks); len(rest) > 0; out.add(tasks) {
		_, err := withStoreSlot(r.Context(), e, application.CallRead, func(ctx context.Context) (_ struct{}, err error) {
			tasks, rest, err = e.uc.Submit.Replay(ctx, rest)
			return struct{}{}, err
		})
		if err == nil {
			continue
		}
		if !out.sent {
			w.Header().Del(headerReplayed)
			return err
		}
		e.log.WarnContext(r.Context(), "a replay was cut off", "route", route(r), "left", len(rest), "error", err)
		panic(http.ErrAbortHandler)
	}
	out.end(pageEnd{})
	return nil
}

// submit stores the tasks, and says if they had been stored before.
func (e *endpoints) submit(w http.ResponseWriter, r *http.Request, in usecase.SubmitTasksInput) (usecase.SubmitResult, error) {
	done, err := withStoreSlot(r.Context(), e, application.CallSubmit, func(ctx context.Context) (usecase.SubmitResult, error) { return e.uc.Submit.Run(ctx, in) })
	if done.Replayed {
		w.Header().Set(headerReplayed, "true")
	}
	return done, err
}
