package httpapi

import (
	"context"
	"net/http"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/millrace/millrace/adapters/httpapi/internal/api"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/usecase"
	"github.com/millrace/millrace/domain"
)

// ListQueues is GET /queues.
func (h *handlers) ListQueues(w http.ResponseWriter, r *http.Request) {
	list := func(ctx context.Context, _ struct{}) ([]application.QueueInfo, error) { return h.uc.Queues.List(ctx) }
	infos, err := stored(r.Context(), h, list, struct{}{})
	if err != nil {
		h.fail(w, r, err)
		return
	}
	out := api.QueueList{Queues: make([]api.Queue, len(infos))}
	for i, info := range infos {
		out.Queues[i] = queueToJSON(info)
	}
	writeJSON(w, http.StatusOK, typeJSON, out)
}

// GetQueue is GET /queues/{name}.
func (h *handlers) GetQueue(w http.ResponseWriter, r *http.Request, name string) {
	queue, err := parseQueue(name)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	info, err := stored(r.Context(), h, h.uc.Queues.Get, queue)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, typeJSON, queueToJSON(info))
}

// ChangeQueue is PATCH /queues/{name}.
func (h *handlers) ChangeQueue(w http.ResponseWriter, r *http.Request, name string) {
	queue, err := parseQueue(name)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	var body queueChange
	if err := h.decode(w, r, []string{typeJSON, typeMerge}, &body); err != nil {
		h.fail(w, r, err)
		return
	}
	change, err := body.change()
	if err != nil {
		h.fail(w, r, err)
		return
	}
	info, err := stored(r.Context(), h, h.uc.Queues.Change, usecase.ChangeQueueInput{Name: queue, Change: change})
	if err != nil {
		h.fail(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, typeJSON, queueToJSON(info))
}

// queueChange is api.QueueChange, which does not tell null from what is left out.
type queueChange struct {
	Paused     *bool            `json:"paused"`
	MaxRunning nullable[int]    `json:"max_running"`
	Rate       nullable[string] `json:"rate"`
}

// nullable is a member that may be null.
type nullable[T any] struct {
	given bool
	value *T // nil: null
}

// UnmarshalJSONFrom reads the member.
func (n *nullable[T]) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	n.given = true
	if dec.PeekKind() == jsontext.KindNull {
		_, err := dec.ReadToken()
		return err
	}
	n.value = new(T)
	return json.UnmarshalDecode(dec, n.value)
}

func (*nullable[T]) readsNull() {}

// change is what the client asks for, or all that is wrong with it.
func (c queueChange) change() (domain.QueueChange, error) {
	out := domain.QueueChange{Paused: c.Paused}
	var wrong []domain.FieldError
	if c.MaxRunning.given {
		switch n := c.MaxRunning.value; {
		case n == nil:
			out.MaxRunning = new(int)
		case *n == 0: // no limit, to the domain; a client says that with null
			out.MaxRunning = new(-1)
		default:
			out.MaxRunning = n
		}
	}
	if c.Rate.given {
		out.Rate = new(domain.Rate)
		if c.Rate.value != nil {
			rate, err := domain.ParseRate(*c.Rate.value)
			if err != nil {
				wrong = domain.Public(err).Fields
			}
			out.Rate = &rate
		}
	}
	if err := new(domain.QueueSettings).Change(out); err != nil {
		wrong = append(wrong, domain.Public(err).Fields...)
	}
	if len(wrong) > 0 {
		return out, domain.InvalidFields(wrong...)
	}
	return out, nil
}

func queueToJSON(q application.QueueInfo) api.Queue {
	out := api.Queue{
		Name: string(q.Name), Paused: q.Paused, Pending: q.Pending, Scheduled: q.Scheduled, Processing: q.Processing,
		Workers: q.Workers, OldestWaiting: given(q.Oldest), MaxRunning: given(q.MaxRunning), Rate: given(q.Rate.String()),
	}
	if out.Rate != nil {
		out.Burst = given(q.Rate.Burst())
	}
	return out
}

// parseQueue reads a name in the path. There, what is no name is malformed, as an
// id is that is none.
func parseQueue(s string) (domain.QueueName, error) {
	name, err := domain.ParseQueueName(s)
	if err != nil {
		return name, malformed.with(wrongParameter("name", detailOf(err)))
	}
	return name, nil
}
