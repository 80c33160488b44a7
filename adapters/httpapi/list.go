package httpapi

import (
	"net/http"
	"strconv"

	"github.com/millrace/millrace/adapters/httpapi/internal/api"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

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
	var next string
	if page.Next != (domain.TaskID{}) {
		next = encodeCursor(page.Next, q.TaskFilter)
		w.Header().Set("Link", "<"+nextPage(q, next)+`>; rel="next"`)
	}
	writeTasks(w, http.StatusOK, page.Tasks, next, page.Window)
}

// toQuery reads the parameters of a list.
func toQuery(params api.ListTasksParams) (application.TaskQuery, error) {
	f, err := queryFilter(params)
	q := application.TaskQuery{TaskFilter: f}
	if err != nil {
		return q, err
	}
	if params.Limit != nil {
		q.Limit = *params.Limit
		if q.Limit == 0 { // to the use case, that is the default
			return q, invalid.with(wrongParameter("limit", "must be at least 1"))
		}
	}
	if params.Cursor != nil {
		if q.Before, err = decodeCursor(*params.Cursor, f); err != nil {
			return q, invalid.with(wrongParameter("cursor", err.Error()))
		}
	}
	return q, nil
}

// nextPage is the URL of the page after cursor: same filters, same limit.
func nextPage(q application.TaskQuery, cursor string) string {
	next := filterQuery(q.TaskFilter)
	next.Set("cursor", cursor)
	if q.Limit > 0 {
		next.Set("limit", strconv.Itoa(q.Limit))
	}
	return "/tasks?" + next.Encode()
}
