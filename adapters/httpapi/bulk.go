package httpapi

import (
	"context"
	"net/http"

	"github.com/millrace/millrace/adapters/httpapi/internal/api"
	"github.com/millrace/millrace/application/usecase"
	"github.com/millrace/millrace/domain"
)

// StartBulk is POST /tasks/bulk.
func (h *handlers) StartBulk(w http.ResponseWriter, r *http.Request) {
	var body api.NewBulk
	if err := h.decode(w, r, []string{typeJSON}, &body, "action", "filter"); err != nil {
		h.fail(w, r, err)
		return
	}
	filter, wrong := bodyFilter(body.Filter)
	in := usecase.BulkTasksInput{Action: domain.BulkAction(body.Action), Filter: filter}
	if len(wrong) > 0 {
		if err := h.uc.Bulk.Check(in); err != nil {
			wrong = append(wrong, problemOf(err).errors...)
		}
		h.fail(w, r, invalid.with(wrong...))
		return
	}
	if body.DryRun {
		h.countBulk(w, r, in)
		return
	}
	b, err := stored(r.Context(), h, h.uc.Bulk.Run, in)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	w.Header().Set("Location", "/bulk/"+b.ID.String())
	writeJSON(w, http.StatusAccepted, typeJSON, bulkToJSON(b))
}

func (h *handlers) countBulk(w http.ResponseWriter, r *http.Request, in usecase.BulkTasksInput) {
	count := func(ctx context.Context, in usecase.BulkTasksInput) (out api.BulkCount, err error) {
		out.Matched, out.Exact, err = h.uc.Bulk.Count(ctx, in)
		return out, err
	}
	out, err := stored(r.Context(), h, count, in)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, typeJSON, out)
}

// GetBulk is GET /bulk/{id}.
func (h *handlers) GetBulk(w http.ResponseWriter, r *http.Request, id string) {
	bulkID, err := parseID(id)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	b, err := stored(r.Context(), h, h.uc.Bulk.Get, domain.BulkID(bulkID))
	if err != nil {
		h.fail(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, typeJSON, bulkToJSON(b))
}

func bulkToJSON(b domain.Bulk) api.Bulk {
	out := api.Bulk{
		ID:        [16]byte(b.ID),
		Action:    string(b.Action),
		Filter:    filterToJSON(b.Filter),
		Status:    "running",
		Changed:   b.Changed,
		Skipped:   b.Skipped,
		CreatedAt: b.CreatedAt,
		UpdatedAt: b.UpdatedAt,
		DoneAt:    given(b.DoneAt),
	}
	if out.DoneAt != nil {
		out.Status = "done"
	}
	return out
}
