package httpapi

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
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

// texts are buffers for answers. One that a great answer has grown is let go.
var texts = sync.Pool{New: func() any { return new([]byte) }}

const maxKeptText = 1 << 20

// writeText sends the JSON that appendTo appends.
func writeText(w http.ResponseWriter, status int, appendTo func([]byte) []byte) {
	text, _ := texts.Get().(*[]byte)
	*text = appendTo((*text)[:0])
	writeBytes(w, status, typeJSON, *text)
	if cap(*text) <= maxKeptText {
		texts.Put(text)
	}
}

// writeTask sends the task with its entity tag.
func writeTask(w http.ResponseWriter, status int, t *domain.Task) {
	w.Header().Set(headerETag, etag(t))
	writeText(w, status, func(b []byte) []byte { return appendTask(b, t) })
}

// writeTasks sends the tasks, in an object with what next and window are, if they
// are anything.
func writeTasks(w http.ResponseWriter, status int, tasks []*domain.Task, nextCursor string, window int) {
	writeText(w, status, func(b []byte) []byte {
		b = append(b, `{"tasks":[`...)
		for i, t := range tasks {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendTask(b, t)
		}
		b = append(b, ']')
		if nextCursor != "" {
			b = appendText(append(b, `,"next_cursor":`...), nextCursor)
		}
		if window != 0 {
			b = strconv.AppendInt(append(b, `,"window":`...), int64(window), 10)
		}
		return append(b, '}')
	})
}

// appendTask appends what json.Marshal would make of an api.Task, which a test
// asserts. Tasks are most of what is sent, and reflection takes much longer.
func appendTask(b []byte, t *domain.Task) []byte {
	s := t.State()
	b = append(append(append(b, `{"id":"`...), s.ID.String()...), '"')
	b = appendText(append(b, `,"message":`...), s.Message)
	b = appendText(append(b, `,"status":`...), string(s.Status))
	b = appendTime(append(b, `,"created_at":`...), s.CreatedAt)
	b = appendTime(append(b, `,"updated_at":`...), s.UpdatedAt)
	b = strconv.AppendInt(append(b, `,"attempt":`...), int64(s.Attempt), 10)
	b = strconv.AppendInt(append(b, `,"failures":`...), int64(s.Failures), 10)
	b = strconv.AppendInt(append(b, `,"max_attempts":`...), int64(s.MaxAttempts), 10)
	if s.LastError != "" {
		b = appendText(append(b, `,"last_error":`...), s.LastError)
	}
	b = appendTime(append(b, `,"run_at":`...), s.RunAt)
	if t.StopRequested() {
		b = appendTime(append(b, `,"cancel_requested_at":`...), s.StopRequestedAt)
	}
	if !s.StartedAt.IsZero() {
		b = appendTime(append(b, `,"started_at":`...), s.StartedAt)
	}
	if at, ended := t.FinishedAt(); ended {
		b = appendTime(append(b, `,"finished_at":`...), at)
	}
	if s.Result != "" {
		b = appendText(append(b, `,"result":`...), s.Result)
	}
	if s.ResultTruncated {
		b = append(b, `,"result_truncated":true`...)
	}
	b = appendText(append(b, `,"queue":`...), string(s.Queue))
	b = strconv.AppendInt(append(b, `,"priority":`...), int64(s.Priority), 10)
	if s.Timeout != 0 {
		b = strconv.AppendFloat(append(b, `,"timeout":`...), s.Timeout.Seconds(), 'f', -1, 64)
	}
	if len(s.Metadata) > 0 {
		b = append(b, `,"metadata":`...)
		open := byte('{')
		for _, key := range slices.Sorted(maps.Keys(s.Metadata)) {
			b = appendText(append(b, open), key)
			b = appendText(append(b, ':'), s.Metadata[key])
			open = ','
		}
		b = append(b, '}')
	}
	return append(b, '}')
}

// appendText appends a string. What a store has damaged is shown as far as it is
// UTF-8.
func appendText(b []byte, s string) []byte {
	b, _ = jsontext.AppendQuote(b, s)
	return b
}

// appendTime appends the time as timeLayout has it, in the way that is quick: the
// layout of RFC 3339, for which the standard library has code of its own, and the
// fraction in place of the Z, which is there as t is in UTC.
func appendTime(b []byte, t time.Time) []byte {
	b = t.UTC().AppendFormat(append(b, '"'), time.RFC3339)
	z := len(b) - 1
	b = strconv.AppendInt(b[:z], int64(1_000_000+t.Nanosecond()/1000), 10) // a one, and six digits
	b[z] = '.'
	return append(b, 'Z', '"')
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
