package httpapi

import (
	"net/http"

	"github.com/millrace/millrace/adapters/httpapi/internal/api"
	"github.com/millrace/millrace/application/usecase"
	"github.com/millrace/millrace/domain"
)

// GetTask is GET /tasks/{id}.
func (h *handlers) GetTask(w http.ResponseWriter, r *http.Request, id string, params api.GetTaskParams) {
	taskID, err := parseID(id)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	wait, err := waitOf(w, params)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	known := func(t *domain.Task) bool {
		return params.IfNoneMatch != nil && matches(*params.IfNoneMatch, etag(t), true)
	}
	var t *domain.Task
	if wait == 0 {
		t, err = stored(r.Context(), h, h.uc.Get.Run, taskID)
	} else {
		leavePlace(w) // who waits does nothing
		t, err = h.uc.Wait.Run(r.Context(), usecase.WaitTaskInput{ID: taskID, For: wait, Until: func(t *domain.Task) bool {
			if params.IfNoneMatch != nil {
				return !known(t)
			}
			return t.Status().Ended()
		}})
	}
	switch {
	case err != nil:
		h.fail(w, r, err)
	case known(t):
		w.Header().Set(headerETag, etag(t))
		w.WriteHeader(http.StatusNotModified)
	default:
		writeTask(w, http.StatusOK, t)
	}
}

// ListAttempts is GET /tasks/{id}/attempts.
func (h *handlers) ListAttempts(w http.ResponseWriter, r *http.Request, id string) {
	taskID, err := parseID(id)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	attempts, err := stored(r.Context(), h, h.uc.Attempts.Run, taskID)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	out := api.AttemptList{Attempts: make([]api.Attempt, len(attempts))}
	for i, a := range attempts {
		out.Attempts[i] = attemptToJSON(a)
	}
	writeJSON(w, http.StatusOK, typeJSON, out)
}

// ChangeTask is PATCH /tasks/{id}.
func (h *handlers) ChangeTask(w http.ResponseWriter, r *http.Request, id string, params api.ChangeTaskParams) {
	taskID, err := parseID(id)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	var in api.TaskChange
	if err := h.decode(w, r, []string{typeJSON, typeMerge}, &in, "status"); err != nil {
		h.fail(w, r, err)
		return
	}
	var is usecase.Precondition
	if params.IfMatch != nil {
		is = func(t *domain.Task) bool { return matches(*params.IfMatch, etag(t), false) }
	}
	status, err := domain.ParseStatus(in.Status)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	var t *domain.Task
	switch {
	case status == domain.StatusCanceled:
		t, err = stored(r.Context(), h, h.uc.Cancel.Run, usecase.CancelTaskInput{ID: taskID, Stop: in.Stop, If: is})
	case in.Stop:
		h.fail(w, r, domain.Invalid("stop", "goes with the status canceled only"))
		return
	case status == domain.StatusPending:
		t, err = stored(r.Context(), h, h.uc.Reopen.Run, usecase.ReopenTaskInput{ID: taskID, If: is})
	default:
		h.fail(w, r, domain.Invalid("status", "can be set to canceled, or to pending if the task has failed; not to %s", status))
		return
	}
	if err != nil {
		h.fail(w, r, err)
		return
	}
	code := http.StatusOK
	if t.Status() == domain.StatusProcessing { // it is asked to stop
		code = http.StatusAccepted
	}
	writeTask(w, code, t)
}

// parseID reads an id in the path. There, what is no id is malformed, not invalid.
func parseID(s string) (domain.TaskID, error) {
	id, err := domain.ParseTaskID(s)
	if err != nil {
		p := problemOf(inQuery(err))
		p.kind = malformed
		return id, p
	}
	return id, nil
}
