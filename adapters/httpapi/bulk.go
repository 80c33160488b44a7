package httpapi

import (
	"cmp"
	"context"
	"net/http"
	"net/url"

	"github.com/millrace/millrace/adapters/httpapi/internal/api"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/usecase"
	"github.com/millrace/millrace/domain"
)

// StartBulk is POST /tasks/bulk.
func (e *endpoints) StartBulk(w http.ResponseWriter, r *http.Request, _ api.StartBulkParams) {
	e.handle(w, r, func() error {
		key, err := idempotencyKey(r.Header)
		if err != nil {
			return err
		}
		var body api.NewBulk
		if err := e.bodies.decode(w, r, &body, typeJSON); err != nil {
			return err
		}
		if err := required(member{"action", body.Action.Given}, member{"filter", body.Filter.Given}); err != nil {
			return err
		}
		in := usecase.BulkTasksInput{
			Action: domain.BulkAction(body.Action.Value), All: body.All.Value, Owner: CredentialName(r.Context()), Key: key,
		}
		in.Filter, in.Invalid = bodyFilter(body.Filter.Value)
		if body.DryRun.Value {
			if key != "" {
				return wrongKey("cannot be combined with dry_run, which changes nothing")
			}
			return e.countBulk(w, r, in)
		}
		done, err := withStoreSlot(r.Context(), e, application.CallChange, func(ctx context.Context) (usecase.BulkResult, error) { return e.uc.Bulk.Run(ctx, in) })
		if err != nil {
			return err
		}
		if done.Replayed {
			w.Header().Set(headerReplayed, "true")
		}
		w.Header().Set("Location", "/bulk/"+done.Bulk.ID.String())
		writeJSON(w, http.StatusAccepted, typeJSON, bulkToJSON(done.Bulk))
		return nil
	})
}

// ofBulks tells cursors of bulk actions from those of tasks.
var ofBulks = url.Values{"list": {"bulk"}}

// ListBulks is GET /bulk.
func (e *endpoints) ListBulks(w http.ResponseWriter, r *http.Request, params api.ListBulksParams) {
	e.handle(w, r, func() error {
		var q application.BulkQuery
		q.Limit = limitOf(params.Limit)
		if params.Cursor != nil {
			before, err := decodeCursor(*params.Cursor, ofBulks)
			if err != nil {
				return invalid.withErrors(wrongParameter("cursor", err.Error()))
			}
			q.Before = domain.BulkID(before)
		}
		page, err := withStoreSlot(r.Context(), e, application.CallRead, func(ctx context.Context) (usecase.BulkPage, error) { return e.uc.Bulk.List(ctx, q) })
		if err != nil {
			return aboutParameters(err)
		}
		out := api.BulkPage{Bulks: make([]api.Bulk, len(page.Bulks))}
		for i, b := range page.Bulks {
			out.Bulks[i] = bulkToJSON(b)
		}
		for _, id := range page.Omitted {
			out.Omitted = append(out.Omitted, id.String())
		}
		if page.Next != (domain.BulkID{}) {
			out.NextCursor = encodeCursor(domain.TaskID(page.Next), ofBulks)
			linkNext(w, "/bulk", url.Values{}, out.NextCursor, q.Limit)
		}
		writeJSON(w, http.StatusOK, typeJSON, out)
		return nil
	})
}

// ChangeBulk is PATCH /bulk/{id}.
func (e *endpoints) ChangeBulk(w http.ResponseWriter, r *http.Request, id string) {
	e.handle(w, r, func() error {
		bulkID, err := parseID(id)
		if err != nil {
			return err
		}
		var body api.BulkChange
		if err := e.bodies.decode(w, r, &body, typeJSON, typeMerge); err != nil {
			return err
		}
		if err := required(member{"status", body.Status.Given}); err != nil {
			return err
		}
		if status := body.Status.Value; status != string(domain.BulkCanceled) {
			return domain.Invalid("status", "can be set to canceled, not to %s", domain.Quoted(status))
		}
		b, err := withStoreSlot(r.Context(), e, application.CallChange, func(ctx context.Context) (domain.Bulk, error) {
			return e.uc.Bulk.Cancel(ctx, domain.BulkID(bulkID))
		})
		if err != nil {
			return err
		}
		writeJSON(w, http.StatusOK, typeJSON, bulkToJSON(b))
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
	status := "running"
	if !b.DoneAt.IsZero() {
		status = string(cmp.Or(b.Ended, "done"))
	}
	return api.Bulk{
		ID:        [16]byte(b.ID),
		Action:    string(b.Action),
		Filter:    filterToJSON(b.Filter),
		Status:    status,
		Changed:   b.Changed,
		Skipped:   b.Skipped,
		CreatedAt: b.CreatedAt,
		UpdatedAt: b.UpdatedAt,
		DoneAt:    nonZero(b.DoneAt),
		Error:     b.Reason,
	}
}
