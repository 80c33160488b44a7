package httpapi

import (
	"context"
	"net/http"
	"net/url"

	"github.com/millrace/millrace/adapters/httpapi/internal/api"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/usecase"
	"github.com/millrace/millrace/domain"
)

// SubmitTask is POST /tasks.
func (e *endpoints) SubmitTask(w http.ResponseWriter, r *http.Request, _ api.SubmitTaskParams) {
	e.handle(w, r, func() error {
		in, err := submission(r)
		if err != nil {
			return err
		}
		body, err := e.bodies.read(w, r, typeJSON)
		if err != nil {
			return err
		}
		spec, err := decodeTask(body, traceContextOf(r))
		if err != nil {
			return err
		}
		in.Tasks = []domain.TaskSpec{spec}
		done, err := e.submit(w, r, in)
		if err != nil {
			return err
		}
		t := done.Tasks[0]
		w.Header().Set("Location", "/tasks/"+t.ID().String())
		writeTask(w, http.StatusCreated, t)
		return nil
	})
}

// GetTask is GET /tasks/{id}.
func (e *endpoints) GetTask(w http.ResponseWriter, r *http.Request, id string, params api.GetTaskParams) {
	e.handle(w, r, func() error {
		taskID, err := parseID(id)
		if err != nil {
			return err
		}
		wait := waitOf(w, params)
		known := func(t *domain.Task) bool {
			return params.IfNoneMatch != nil && matches(*params.IfNoneMatch, etag(t), true)
		}
		t, err := e.getTask(w, r, usecase.WaitTaskInput{ID: taskID, For: wait, Until: func(t *domain.Task) bool {
			if params.IfNoneMatch != nil {
				return !known(t)
			}
			return t.Status().Ended()
		}})
		if err != nil {
			return err
		}
		if known(t) {
			w.Header().Set(headerETag, etag(t))
			w.WriteHeader(http.StatusNotModified)
			return nil
		}
		writeTask(w, http.StatusOK, t)
		return nil
	})
}

// getTask reads the task, after waiting for it if the client wants to.
func (e *endpoints) getTask(w http.ResponseWriter, r *http.Request, in usecase.WaitTaskInput) (*domain.Task, error) {
	if in.For == 0 {
		return withStoreSlot(r.Context(), e, application.CallRead, func(ctx context.Context) (*domain.Task, error) { return e.uc.Get.Run(ctx, in.ID) })
	}
	releaseSlot(w) // a request that waits costs nothing
	t, err := e.uc.Wait.Run(r.Context(), in)
	e.store.StoreCalled(r.Context(), application.CallRead, err)
	return t, err
}

// ListTasks is GET /tasks.
func (e *endpoints) ListTasks(w http.ResponseWriter, r *http.Request, params api.ListTasksParams) {
	e.handle(w, r, func() error {
		q, filters, err := taskQuery(params)
		if err != nil {
			return err
		}
		page, err := withStoreSlot(r.Context(), e, application.CallRead, func(ctx context.Context) (usecase.TaskPage, error) { return e.uc.List.Run(ctx, q) })
		if err != nil {
			return aboutParameters(err)
		}
		var next string
		if page.Next != (domain.TaskID{}) {
			next = encodeCursor(page.Next, filters)
			linkNext(w, "/tasks", filters, next, q.Limit)
		}
		writeTasks(w, http.StatusOK, page.Tasks, pageEnd{page.Omitted, next, page.Window})
		return nil
	})
}

// taskQuery reads the parameters of a list. The filters are returned in their
// canonical form too.
func taskQuery(params api.ListTasksParams) (application.TaskQuery, url.Values, error) {
	f, err := queryFilter(params)
	if err != nil {
		return application.TaskQuery{}, nil, err
	}
	q, filters := application.TaskQuery{TaskFilter: f}, filterQuery(f)
	q.Limit = limitOf(params.Limit)
	if params.Cursor != nil {
		if q.Before, err = decodeCursor(*params.Cursor, filters); err != nil {
			return q, nil, invalid.withErrors(wrongParameter("cursor", err.Error()))
		}
	}
	return q, filters, nil
}

// ChangeTask is PATCH /tasks/{id}.
func (e *endpoints) ChangeTask(w http.ResponseWriter, r *http.Request, id string, params api.ChangeTaskParams) {
	e.handle(w, r, func() error {
		taskID, err := parseID(id)
		if err != nil {
			return err
		}
		var body api.TaskChange
		if err := e.bodies.decode(w, r, &body, typeJSON, typeMerge); err != nil {
			return err
		}
		if err := required(member{"status", body.Status.Given}); err != nil {
			return err
		}
		change, err := e.taskChange(taskID, body, params.IfMatch)
		if err != nil {
			return err
		}
		t, err := withStoreSlot(r.Context(), e, application.CallChange, func(ctx context.Context) (*domain.Task, error) { return change(ctx) })
		if err != nil {
			return err
		}
		status := http.StatusOK
		if t.Status() == domain.StatusProcessing { // it is asked to stop
			status = http.StatusAccepted
		}
		writeTask(w, status, t)
		return nil
	})
}

// taskChange is the use case that the body asks for.
func (e *endpoints) taskChange(id domain.TaskID, body api.TaskChange, ifMatch *string) (func(context.Context) (*domain.Task, error), error) {
	precondition := preconditionOf(ifMatch)
	status, err := domain.ParseStatus(body.Status.Value)
	switch {
	case err != nil:
		return nil, err
	case status == domain.StatusCanceled:
		in := usecase.CancelTaskInput{ID: id, Stop: body.Stop.Value, If: precondition}
		return func(ctx context.Context) (*domain.Task, error) { return e.uc.Cancel.Run(ctx, in) }, nil
	case body.Stop.Value:
		return nil, domain.Invalid("stop", "requires the status canceled")
	case status == domain.StatusPending:
		in := usecase.ReopenTaskInput{ID: id, If: precondition}
		return func(ctx context.Context) (*domain.Task, error) { return e.uc.Reopen.Run(ctx, in) }, nil
	}
	return nil, domain.Invalid("status", "can be set to canceled, or to pending if the task has failed; not to %s", status)
}

// preconditionOf is what If-Match asks for, if it was sent.
func preconditionOf(ifMatch *string) usecase.Precondition {
	if ifMatch == nil {
		return nil
	}
	return func(t *domain.Task) bool { return matches(*ifMatch, etag(t), false) }
}

// DeleteTask is DELETE /tasks/{id}.
func (e *endpoints) DeleteTask(w http.ResponseWriter, r *http.Request, id string, params api.DeleteTaskParams) {
	e.handle(w, r, func() error {
		taskID, err := parseID(id)
		if err != nil {
			return err
		}
		in := usecase.DeleteTaskInput{ID: taskID, If: preconditionOf(params.IfMatch)}
		if _, err := withStoreSlot(r.Context(), e, application.CallChange, func(ctx context.Context) (struct{}, error) {
			return struct{}{}, e.uc.Delete.Run(ctx, in)
		}); err != nil {
			return err
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	})
}
