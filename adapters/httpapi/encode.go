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

	"github.com/millrace/millrace/domain"
)

// timeLayout has exactly the six fraction digits that clients have always seen.
const timeLayout = "2006-01-02T15:04:05.000000Z"

var writeTimes = json.WithMarshalers(json.MarshalToFunc(func(enc *jsontext.Encoder, t time.Time) error {
	return enc.WriteToken(jsontext.String(t.UTC().Format(timeLayout)))
}))

// writeJSON sends v, with its length, which HEAD answers too. An error of w means
// that the client has disconnected, and is ignored.
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

// buffers are for responses. Those over maxKeptBuffer are not returned to the pool.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

const maxKeptBuffer = 1 << 20

// writeAppended sends the JSON that appendTo appends.
func writeAppended(w http.ResponseWriter, status int, appendTo func([]byte) []byte) {
	buffer, _ := buffers.Get().(*[]byte)
	*buffer = appendTo((*buffer)[:0])
	writeBytes(w, status, typeJSON, *buffer)
	if cap(*buffer) <= maxKeptBuffer {
		buffers.Put(buffer)
	}
}

// writeTask sends the task with its entity tag.
func writeTask(w http.ResponseWriter, status int, t *domain.Task) {
	w.Header().Set(headerETag, etag(t))
	writeAppended(w, status, func(b []byte) []byte { return appendTask(b, t) })
}

// pageEnd is what stands after the tasks of a page, as far as it is not zero.
type pageEnd struct {
	omitted    []domain.TaskID
	nextCursor string
	window     int
}

// writeTasks sends the tasks in an object, and the end of a page.
func writeTasks(w http.ResponseWriter, status int, tasks []*domain.Task, end pageEnd) {
	out := beginTasks(w, status)
	defer out.release()
	out.add(tasks)
	out.end(end)
}

// tasksWriter writes an object with tasks. What is long is sent while it is written, without
// its length.
type tasksWriter struct {
	w      http.ResponseWriter
	status int
	buffer *[]byte
	b      []byte
	any    bool // task
	sent   bool // the answer has begun
}

func beginTasks(w http.ResponseWriter, status int) *tasksWriter {
	buffer, _ := buffers.Get().(*[]byte)
	return &tasksWriter{w: w, status: status, buffer: buffer, b: append((*buffer)[:0], `{"tasks":[`...)}
}

func (o *tasksWriter) add(tasks []*domain.Task) {
	for _, t := range tasks {
		if o.any {
			o.b = append(o.b, ',')
		}
		o.any = true
		if o.b = appendTask(o.b, t); len(o.b) >= maxKeptBuffer {
			o.send()
		}
	}
}

func (o *tasksWriter) send() {
	if !o.sent {
		o.w.Header().Set("Content-Type", typeJSON)
		o.w.WriteHeader(o.status)
	}
	_, _ = o.w.Write(o.b)
	o.b, o.sent = o.b[:0], true
}

func (o *tasksWriter) end(end pageEnd) {
	if o.b = end.append(append(o.b, ']')); o.sent {
		o.send()
	} else {
		writeBytes(o.w, o.status, typeJSON, o.b)
	}
}

// release gives the buffer back.
func (o *tasksWriter) release() {
	if *o.buffer = o.b; cap(o.b) <= maxKeptBuffer {
		buffers.Put(o.buffer)
	}
}

// append appends the end of the object too.
func (end pageEnd) append(b []byte) []byte {
	if len(end.omitted) > 0 {
		b = append(b, `,"omitted":`...)
		open := byte('[')
		for _, id := range end.omitted {
			b = appendText(append(b, open), id.String())
			open = ','
		}
		b = append(b, ']')
	}
	if end.nextCursor != "" {
		b = appendText(append(b, `,"next_cursor":`...), end.nextCursor)
	}
	if end.window != 0 {
		b = strconv.AppendInt(append(b, `,"window":`...), int64(end.window), 10)
	}
	return append(b, '}')
}

// appendTask appends what json.Marshal would make of an api.Task, which a test
// asserts. Tasks are most of what is sent; tokens of the library take twice as long,
// and reflection longer still (docs/decisions/0004).
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
	if s.ResultAltered {
		b = append(b, `,"result_altered":true`...)
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

// appendText appends a string. Bytes that are not UTF-8, which only a damaged store
// can hold, become U+FFFD.
func appendText(b []byte, s string) []byte {
	b, _ = jsontext.AppendQuote(b, s)
	return b
}

// appendTime appends the time as timeLayout has it, quickly: in the layout of
// RFC 3339, for which the standard library has code of its own, then the fraction in
// place of the Z that a time in UTC ends with.
func appendTime(b []byte, t time.Time) []byte {
	b = t.UTC().AppendFormat(append(b, '"'), time.RFC3339)
	z := len(b) - 1
	b = strconv.AppendInt(b[:z], int64(1_000_000+t.Nanosecond()/1000), 10) // a one, and six digits
	b[z] = '.'
	return append(b, 'Z', '"')
}
