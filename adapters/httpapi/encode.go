package httpapi

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/millrace/millrace/adapters/httpapi/internal/api"
	"github.com/millrace/millrace/domain"
)

// timeLayout has exactly the six fraction digits that clients have always seen.
const timeLayout = "2006-01-02T15:04:05.000000Z"

var writeTimes = json.WithMarshalers(json.MarshalToFunc(func(enc *jsontext.Encoder, t time.Time) error {
	return enc.WriteToken(jsontext.String(t.UTC().Format(timeLayout)))
}))

// writeJSON sends v. The length is sent too, so that HEAD can tell it. An error of
// w means that the client is gone, which is nobody's fault here.
func writeJSON(w http.ResponseWriter, status int, contentType string, v any, opts ...json.Options) {
	body, err := json.Marshal(v, append(opts, writeTimes, json.Deterministic(true))...)
	if err != nil {
		panic(fmt.Errorf("encode %T: %w", v, err)) // no value of these types can fail
	}
	writeBytes(w, status, contentType, body)
}

func writeBytes(w http.ResponseWriter, status int, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// writeTask sends the task with its entity tag.
func writeTask(w http.ResponseWriter, status int, t *domain.Task) {
	w.Header().Set("ETag", etag(t))
	writeJSON(w, status, typeJSON, toJSON(t))
}

func toJSON(t *domain.Task) api.Task {
	s := t.State()
	out := api.Task{
		ID:          [16]byte(s.ID),
		Message:     s.Message,
		Status:      api.TaskStatus(s.Status),
		CreatedAt:   s.CreatedAt,
		UpdatedAt:   s.UpdatedAt,
		Attempt:     s.Attempt,
		Failures:    s.Failures,
		MaxAttempts: s.MaxAttempts,
		LastError:   s.LastError,
		RunAt:       s.RunAt,
		Result:      s.Result,
		Queue:       string(s.Queue),
		Priority:    s.Priority,
		Timeout:     given(s.Timeout.Seconds()),
		Metadata:    s.Metadata,
	}
	if s.ResultTruncated {
		out.ResultTruncated = &s.ResultTruncated
	}
	if !s.StartedAt.IsZero() {
		out.StartedAt = &s.StartedAt
	}
	if at, ended := t.FinishedAt(); ended {
		out.FinishedAt = &at
	}
	if t.StopRequested() {
		out.CancelRequestedAt = &s.StopRequestedAt
	}
	return out
}

func toJSONs(tasks []*domain.Task) []api.Task {
	out := make([]api.Task, len(tasks))
	for i, t := range tasks {
		out[i] = toJSON(t)
	}
	return out
}

func attemptToJSON(a domain.Attempt) api.Attempt {
	out := api.Attempt{
		Number: a.Number, Worker: string(a.Worker), StartedAt: a.StartedAt, Outcome: string(a.Outcome), Error: a.Error,
	}
	if !a.EndedAt.IsZero() {
		out.EndedAt = &a.EndedAt
	}
	return out
}
