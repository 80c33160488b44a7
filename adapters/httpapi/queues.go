package httpapi

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/millrace/millrace/adapters/httpapi/internal/api"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/usecase"
	"github.com/millrace/millrace/domain"
)

// ListQueues is GET /queues.
func (e *endpoints) ListQueues(w http.ResponseWriter, r *http.Request, params api.ListQueuesParams) {
	e.handle(w, r, func() error {
		var q application.QueueQuery
		q.Limit = limitOf(params.Limit)
		if params.Cursor != nil {
			var err error
			if q.After, err = decodeQueueCursor(*params.Cursor); err != nil {
				return invalid.withErrors(wrongParameter("cursor", err.Error()))
			}
		}
		page, err := withStoreSlot(r.Context(), e, application.CallRead, func(ctx context.Context) (usecase.QueuePage, error) { return e.uc.Queues.List(ctx, q) })
		if err != nil {
			return aboutParameters(err)
		}
		out := api.QueueList{Queues: make([]api.Queue, len(page.Queues))}
		for i, info := range page.Queues {
			out.Queues[i] = queueToJSON(info)
		}
		if page.Next != "" {
			out.NextCursor = encodeQueueCursor(page.Next)
			linkNext(w, "/queues", url.Values{}, out.NextCursor, q.Limit)
		}
		writeJSON(w, http.StatusOK, typeJSON, out)
		return nil
	})
}

// GetQueue is GET /queues/{name}.
func (e *endpoints) GetQueue(w http.ResponseWriter, r *http.Request, name string) {
	e.handle(w, r, func() error {
		queue, err := parseQueue(name)
		if err != nil {
			return err
		}
		info, err := withStoreSlot(r.Context(), e, application.CallRead, func(ctx context.Context) (application.QueueInfo, error) { return e.uc.Queues.Get(ctx, queue) })
		if err != nil {
			return err
		}
		writeJSON(w, http.StatusOK, typeJSON, queueToJSON(info))
		return nil
	})
}

// ChangeQueue is PATCH /queues/{name}.
func (e *endpoints) ChangeQueue(w http.ResponseWriter, r *http.Request, name string) {
	e.handle(w, r, func() error {
		queue, err := parseQueue(name)
		if err != nil {
			return err
		}
		var body api.QueueChange
		if err := e.bodies.decode(w, r, &body, typeJSON, typeMerge); err != nil {
			return err
		}
		in := usecase.ChangeQueueInput{Name: queue}
		if in.Change, err = queueChange(body); err != nil {
			return err
		}
		info, err := withStoreSlot(r.Context(), e, application.CallChange, func(ctx context.Context) (application.QueueInfo, error) { return e.uc.Queues.Change(ctx, in) })
		if err != nil {
			return err
		}
		writeJSON(w, http.StatusOK, typeJSON, queueToJSON(info))
		return nil
	})
}

// queueChange is what the client asks for, or all that is wrong with it.
func queueChange(body api.QueueChange) (domain.QueueChange, error) {
	out := domain.QueueChange{Paused: body.Paused.Pointer()}
	var wrong []domain.FieldError
	if body.MaxRunning.Given {
		out.MaxRunning = new(int)
		if n := body.MaxRunning.Value; n != nil {
			if err := domain.CheckMaxRunning(*n); err != nil {
				wrong = append(wrong, domain.Public(err).Fields...)
			}
			out.MaxRunning = n
		}
	}
	if body.Rate.Given {
		out.Rate = new(domain.Rate)
		if text := body.Rate.Value; text != nil {
			rate, err := domain.ParseRate(*text)
			if err != nil {
				wrong = append(wrong, domain.Public(err).Fields...)
			}
			out.Rate = &rate
		}
	}
	wrong = append(wrong, retentionChange(body.Retention, &out)...)
	if len(wrong) > 0 {
		return out, domain.InvalidFields(wrong...)
	}
	return out, nil
}

// retentionChange reads what the client asks for of the time for which tasks are kept, and
// returns what is wrong with it. Null, for a status or as a whole, is the default.
func retentionChange(body api.Field[*api.RetentionChange], out *domain.QueueChange) (wrong []domain.FieldError) {
	if !body.Given {
		return nil
	}
	asked := api.RetentionChange{Completed: api.Of[*string](nil), Canceled: api.Of[*string](nil), Failed: api.Of[*string](nil)}
	if body.Value != nil {
		asked = *body.Value
	}
	out.Retention = map[domain.Status]domain.Keep{}
	for status, text := range map[domain.Status]api.Field[*string]{
		domain.StatusCompleted: asked.Completed, domain.StatusCanceled: asked.Canceled, domain.StatusFailed: asked.Failed,
	} {
		if !text.Given {
			continue
		}
		var keep domain.Keep
		if text.Value != nil {
			var err error
			if keep, err = domain.ParseKeep(*text.Value); err != nil {
				wrong = append(wrong, domain.FieldError{Field: "retention/" + string(status), Detail: detailOf(err)})
			}
		}
		out.Retention[status] = keep
	}
	slices.SortFunc(wrong, func(a, b domain.FieldError) int { return strings.Compare(a.Field, b.Field) })
	return wrong
}

func retentionToJSON(r domain.Retention) *api.Retention {
	if r == (domain.Retention{}) {
		return nil
	}
	return &api.Retention{Completed: r.Completed.String(), Canceled: r.Canceled.String(), Failed: r.Failed.String()}
}

func queueToJSON(q application.QueueInfo) api.Queue {
	out := api.Queue{
		Name: string(q.Name), Paused: q.Paused, Pending: q.Pending, Scheduled: q.Scheduled, Processing: q.Processing,
		Workers: q.Workers, OldestWaiting: nonZero(q.Oldest), MaxRunning: nonZero(q.MaxRunning), Rate: nonZero(q.Rate.String()),
		Retention: retentionToJSON(q.Retention),
	}
	if out.Rate != nil {
		out.Burst = nonZero(q.Rate.Burst())
	}
	return out
}

// parseQueue reads a name in the path. There, what is not a name is malformed, as an
// id is that is not a UUID.
func parseQueue(s string) (domain.QueueName, error) {
	name, err := domain.ParseQueueName(s)
	if err != nil {
		return name, malformed.withErrors(wrongParameter("name", detailOf(err)))
	}
	return name, nil
}
