package httpapi

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/millrace/millrace/adapters/httpapi/internal/admission"
	"github.com/millrace/millrace/adapters/httpapi/internal/api"
	"github.com/millrace/millrace/domain"
)

// bodyLimit admits every message that is allowed, however it is escaped:
// "\u0001" is six bytes for one.
func bodyLimit(messageBytes int) int64 {
	const metadata = domain.MaxMetadata * (domain.MaxMetadataKey + domain.MaxMetadataValue)
	return 6*(int64(messageBytes)+metadata) + 4<<10
}

// bodyReader reads bodies of at most limit bytes. While one arrives, its request
// may be evicted by each of the limiters. A body takes room in bytes, until its request
// ends.
type bodyReader struct {
	limit    int64
	bytes    *admission.Bytes
	limiters []*admission.Limiter
}

// decode reads the JSON object in r's body into the struct that into points to. The
// types are the media types that the body may have. Every error is a problem that
// says where.
func (b bodyReader) decode(w http.ResponseWriter, r *http.Request, into any, types ...string) error {
	body, err := b.read(w, r, types...)
	if err != nil {
		return err
	}
	return decodeObject(body, into)
}

func (b bodyReader) read(w http.ResponseWriter, r *http.Request, types ...string) ([]byte, error) {
	if err := checkContentType(r, types...); err != nil {
		return nil, err
	}
	if r.ContentLength > b.limit {
		return nil, b.tooLong()
	}
	if err := b.reserve(w, r, b.firstReserve(r.ContentLength)); err != nil {
		return nil, err
	}
	b.beginUpload(w)
	defer b.endUpload(w)
	text, err := b.readAll(w, r)
	tracked(w).bodyUnread = err != nil
	return text, err
}

func (b bodyReader) tooLong() error {
	return tooLarge.errorf("the body must be at most %d bytes long", b.limit)
}

func (b bodyReader) readAll(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.ContentLength < 0 {
		return b.readUnannounced(w, r, http.MaxBytesReader(w, r.Body, b.limit))
	}
	text := make([]byte, r.ContentLength)
	if _, err := io.ReadFull(r.Body, text); err != nil {
		return nil, b.unreadable(err)
	}
	return text, nil
}

// unannounced is how much room a body takes at first whose length is not known.
const unannounced = 64 << 10

func (b bodyReader) firstReserve(length int64) int64 {
	if length < 0 {
		return min(unannounced, b.limit)
	}
	return length
}

// reserve takes room for n more bytes of the body, until releaseSlot.
func (b bodyReader) reserve(w http.ResponseWriter, r *http.Request, n int64) error {
	t := tracked(w)
	taken, ok := b.bytes.Acquire(r.Context(), n, t.bodyBytes)
	if !ok {
		return overloaded.errorf("too many bytes of requests are in progress; nothing was done")
	}
	t.bytes, t.bodyBytes = b.bytes, t.bodyBytes+taken
	return nil
}

// readUnannounced reads a body whose length is not known, or too large.
func (b bodyReader) readUnannounced(w http.ResponseWriter, r *http.Request, body io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(body, unannounced))
	if err != nil {
		return nil, b.unreadable(err)
	}
	if len(text) < unannounced {
		return text, nil
	}
	if err := b.reserve(w, r, b.limit-unannounced); err != nil {
		return nil, err
	}
	rest, err := io.ReadAll(body)
	if err != nil {
		return nil, b.unreadable(err)
	}
	return append(text, rest...), nil
}

func (b bodyReader) beginUpload(w http.ResponseWriter) {
	b.bytes.BeginUpload(w)
	for _, l := range b.limiters {
		l.BeginUpload(w)
	}
}

func (b bodyReader) endUpload(w http.ResponseWriter) {
	b.bytes.EndUpload(w)
	for _, l := range b.limiters {
		l.EndUpload(w)
	}
}

// unreadable says why a body could not be read to its end.
func (b bodyReader) unreadable(err error) error {
	if _, over := errors.AsType[*http.MaxBytesError](err); over {
		return b.tooLong()
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return requestTimeout.errorf("the body did not arrive in time")
	}
	return malformed.errorf("the body is incomplete, or was not sent as HTTP requires")
}

// decodeObject reads a JSON object in one pass. Only when something is wrong does it
// look at the whole text, so that a syntax error is never reported as a wrong field.
func decodeObject(body []byte, into any) error {
	err := json.Unmarshal(body, into, json.RejectUnknownMembers(true))
	kind := jsontext.Value(body).Kind()
	if err == nil && kind == jsontext.KindBeginObject {
		return nil
	}
	if syntax := json.Unmarshal(body, new(jsontext.Value)); syntax != nil {
		return notJSON(syntax)
	}
	if kind != jsontext.KindBeginObject {
		return invalid.withErrors(wrongField("", "the body must be an object, not "+api.KindInWords(kind)))
	}
	at, detail, ok := wrongMember(err)
	if !ok {
		return err
	}
	return invalid.withErrors(wrongField(at, detail))
}

// wrongMember says which member is wrong and why. Not ok: err is about something else.
func wrongMember(err error) (at jsontext.Pointer, detail string, ok bool) {
	if value, ok := errors.AsType[*api.WrongValue](err); ok {
		at, detail = shortened(value.At, value.Detail)
		return at, detail, true
	}
	semantic, ok := errors.AsType[*json.SemanticError](err)
	if !ok || !errors.Is(err, json.ErrUnknownName) {
		return "", "", false
	}
	at, detail = shortened(semantic.JSONPointer, "unknown field")
	return at, detail, true
}

// shortened is a pointer that an answer can hold, and what is wrong there: the value around
// a member with a name that is too long, whose beginning the detail then has.
func shortened(at jsontext.Pointer, detail string) (jsontext.Pointer, string) {
	if len(at) <= maxPointer {
		return at, detail
	}
	return ancestor(at), fmt.Sprintf("%s: %s", domain.Quoted(at.LastToken()), detail)
}

func notJSON(err error) error {
	syntax, ok := errors.AsType[*jsontext.SyntacticError](err)
	if !ok {
		return malformed.errorf("the body is not valid JSON")
	}
	if syntax.ByteOffset == 0 && errors.Is(err, io.ErrUnexpectedEOF) {
		return malformed.errorf("the body is empty; a JSON object is required")
	}
	fault := syntax.Err.Error()
	if fault == exceededMaxDepth {
		fault = fmt.Sprintf("nested deeper than %d levels", maxDepth)
	}
	fault = fmt.Sprintf("%s, at byte %d", fault, syntax.ByteOffset)
	found := malformed.errorf("the body is not valid JSON: %s", fault)
	if at := ancestor(syntax.JSONPointer); at != "" {
		found.errors = []api.ProblemError{wrongField(at, fault)}
	}
	return found
}

// maxDepth is how deep jsontext reads, and exceededMaxDepth what it then says.
const (
	maxDepth         = 10_000
	exceededMaxDepth = "exceeded max depth"
)

// maxPointer is how long a pointer in an answer may be: a name can be as long as the body,
// and what is not valid JSON as deep.
const maxPointer = 500

// ancestor is the value that at points to, or one around it.
func ancestor(at jsontext.Pointer) jsontext.Pointer {
	for len(at) > maxPointer {
		at = at[:strings.LastIndexByte(string(at[:maxPointer+1]), '/')]
	}
	return at
}

// member is a member of an object that has to be given.
type member struct {
	name  string
	given bool
}

// required names the members that are missing.
func required(members ...member) error {
	var missing []api.ProblemError
	for _, m := range members {
		if !m.given {
			missing = append(missing, wrongField(jsontext.Pointer("").AppendToken(m.name), isRequired))
		}
	}
	if len(missing) > 0 {
		return invalid.withErrors(missing...)
	}
	return nil
}

const isRequired = "is required"

// fieldOf is the path of a field as the domain writes it: a pointer without its
// leading slash.
func fieldOf(at string) string { return strings.TrimPrefix(at, "/") }
