package httpapi

import (
	"context"
	"net/http"

	"github.com/millrace/millrace/adapters/httpapi/internal/api"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/usecase"
	"github.com/millrace/millrace/domain"
)

// StartBulk is POST /tasks/bulk.
func (e *endpoints) StartBulk(w http.ResponseWriter, r *http.Request) {
	e.handle(w, r, func() error {
		var body api.NewBulk
		if err := e.bodies.decode(w, r, &body, typeJSON); err != nil {
			return err
		}
		if err := required(member{"action", body.Action.Given}, member{"filter", body.Filter.Given}); err != nil {
			return err
		}
		in := usecase.BulkTasksInput{Action: domain.BulkAction(body.Action.Value), All: body.All.Value}
		in.Filter, in.Invalid = bodyFilter(body.Filter.Value)
		if body.DryRun.Value {
			return e.countBulk(w, r, in)
		}
		b, err := withStoreSlot(r.Context(), e, application.CallChange, func(ctx context.Context) (domain.Bulk, error) { return e.uc.Bulk.Run(ctx, in) })
		if err != nil {
			return err
		}
		w.Header().Set("Location", "/bulk/"+b.ID.String())
		writeJSON(w, http.StatusAccepted, typeJSON, bulkToJSON(b))
		return nil
	})
}

func (e *endpoints) countBulk(w http.ResponseWriter, r *http.Request, in usecase.BulkTasksInput) error {
	out, err := withStoreSlot(r.Context(), e, application.CallRead, func(ctx context.Context) (out api.BulkCount, err error) {
		out.Matched, out.Exact, err = e.uc.Bulk.Count(ctx, in)
		return out, err
	})
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, typeJSON, out)
	return nil
}

// GetBulk is GET /bulk/{id}.
func (e *endpoints) GetBulk(w http.ResponseWriter, r *http.Request, id string) {
	e.handle(w, r, func() error {
		bulkID, err := parseID(id)
		if err != nil {
			return err
		}
		b, err := withStoreSlot(r.Context(), e, application.CallRead, func(ctx context.Context) (domain.Bulk, error) {
			return e.uc.Bulk.Get(ctx, domain.BulkID(bulkID))
		})
		if err != nil {
			return err
		}
		writeJSON(w, http.StatusOK, typeJSON, bulkToJSON(b))
		return nil
	})
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
		DoneAt:    nonZero(b.DoneAt),
	}
	if out.DoneAt != nil {
		out.Status = "done"
	}
	return out
}
