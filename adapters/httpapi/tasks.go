package httpapi

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace/millrace/adapters/httpapi/internal/api"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// SubmitTask is POST /tasks.
func (h *handlers) SubmitTask(w http.ResponseWriter, r *http.Request) {
	var in api.NewTask
	if err := h.decode(w, r, []string{typeJSON}, &in, "message"); err != nil {
		h.fail(w, r, err)
		return
	}
	t, err := stored(r.Context(), h, h.uc.Submit.Run, application.SubmitTaskInput{Message: in.Message})
	if err != nil {
		h.fail(w, r, err)
		return
	}
	w.Header().Set("Location", "/tasks/"+t.ID().String())
	writeTask(w, http.StatusCreated, t)
}

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
		leavePlace(r) // who waits does nothing
		t, err = h.uc.Wait.Run(r.Context(), application.WaitTaskInput{ID: taskID, For: wait, Until: func(t *domain.Task) bool {
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
		w.Header().Set("ETag", etag(t))
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
	var is application.Precondition
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
		t, err = stored(r.Context(), h, h.uc.Cancel.Run, application.CancelTaskInput{ID: taskID, Stop: in.Stop, If: is})
	case in.Stop:
		h.fail(w, r, domain.Invalid("stop", "goes with the status canceled only"))
		return
	case status == domain.StatusPending:
		t, err = stored(r.Context(), h, h.uc.Reopen.Run, application.ReopenTaskInput{ID: taskID, If: is})
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

// ListTasks is GET /tasks.
func (h *handlers) ListTasks(w http.ResponseWriter, r *http.Request, params api.ListTasksParams) {
	q, err := toQuery(params)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	page, err := stored(r.Context(), h, h.uc.List.Run, q)
	if err != nil {
		h.fail(w, r, inQuery(err))
		return
	}
	out := api.TaskPage{Tasks: make([]api.Task, len(page.Tasks))}
	for i, t := range page.Tasks {
		out.Tasks[i] = toJSON(t)
	}
	if page.More {
		out.NextCursor = encodeCursor(page.Tasks[len(page.Tasks)-1].ID(), q.Statuses)
		w.Header().Set("Link", "<"+nextPage(q, out.NextCursor)+`>; rel="next"`)
	}
	writeJSON(w, http.StatusOK, typeJSON, out)
}

// toQuery reads the parameters of a list.
func toQuery(params api.ListTasksParams) (application.TaskQuery, error) {
	var q application.TaskQuery
	if params.Status != nil {
		for name := range strings.SplitSeq(strings.Join(*params.Status, ","), ",") {
			status, err := domain.ParseStatus(name)
			if err != nil {
				return q, inQuery(err)
			}
			q.Statuses = append(q.Statuses, status)
		}
		slices.Sort(q.Statuses) // the cursor knows them as a set
		q.Statuses = slices.Compact(q.Statuses)
	}
	if params.Limit != nil {
		q.Limit = *params.Limit
		if q.Limit == 0 { // to the use case, that is the default
			return q, invalid.with(wrongParameter("limit", "must be at least 1"))
		}
	}
	if params.Cursor != nil {
		before, err := decodeCursor(*params.Cursor, q.Statuses)
		if err != nil {
			return q, invalid.with(wrongParameter("cursor", err.Error()))
		}
		q.Before = before
	}
	return q, nil
}

// nextPage is the URL of the page after cursor: same filters, same limit.
func nextPage(q application.TaskQuery, cursor string) string {
	next := url.Values{"cursor": {cursor}}
	if len(q.Statuses) > 0 {
		next.Set("status", joined(q.Statuses))
	}
	if q.Limit > 0 {
		next.Set("limit", strconv.Itoa(q.Limit))
	}
	return "/tasks?" + next.Encode()
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
