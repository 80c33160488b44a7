package httpapi

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"reflect"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/millrace/millrace/adapters/httpapi/internal/api"
	"github.com/millrace/millrace/domain"
)

// bodyLimit lets any message through that is allowed, however it is escaped:
// "\u0001" is six bytes for one.
func bodyLimit(messageBytes int) int64 {
	const metadata = domain.MaxMetadata * (domain.MaxMetadataKey + domain.MaxMetadataValue)
	return 6*(int64(messageBytes)+metadata) + 4<<10
}

// Members that are null are refused: the zero value is not what was sent. plain is
// for what has none.
var (
	plain  = json.JoinOptions(json.RejectUnknownMembers(true), json.WithUnmarshalers(json.UnmarshalFromFunc(readTime)))
	strict = json.JoinOptions(
		json.RejectUnknownMembers(true),
		json.WithUnmarshalers(json.JoinUnmarshalers(
			json.UnmarshalFromFunc(refuseNull),
			json.UnmarshalFromFunc(readTime),
		)),
	)
)

// wrongValue says in words what is wrong with a member.
type wrongValue string

func (e wrongValue) Error() string { return string(e) }

func refuseNull(dec *jsontext.Decoder, into any) error {
	if _, ok := into.(interface{ readsNull() }); !ok && dec.PeekKind() == jsontext.KindNull {
		return wrongValue("must be " + typeWord(reflect.TypeOf(into)) + ", not null")
	}
	return errors.ErrUnsupported // read it as it would be read without this
}

// readTime takes no more than RFC 3339 has.
func readTime(dec *jsontext.Decoder, into *time.Time) error {
	if kind := dec.PeekKind(); kind != jsontext.KindString {
		return errors.ErrUnsupported // which fails, and says why
	}
	text, err := dec.ReadToken()
	if err != nil {
		return err
	}
	if *into, err = parseTime(text.String()); err != nil {
		return wrongValue(err.Error())
	}
	return nil
}

// decode reads the JSON object in r's body into the struct that into points to.
// The types are the media types that the body may have, and required the members
// that it must have. Every error is a problem that says where.
func (h *handlers) decode(w http.ResponseWriter, r *http.Request, types []string, into any, required ...string) error {
	body, err := h.read(h.bodyLimit, w, r, types...)
	if err != nil {
		return err
	}
	return decodeObject(body, into, required...)
}

// read reads a body of at most so many bytes, of one of the media types.
func (h *handlers) read(limit int64, w http.ResponseWriter, r *http.Request, types ...string) ([]byte, error) {
	if err := checkContentType(r, types...); err != nil {
		return nil, err
	}
	h.uploads.begin(w)
	body, err := readAll(http.MaxBytesReader(w, r.Body, limit), r.ContentLength)
	h.uploads.end(w)
	if err != nil {
		return nil, unreadable(err)
	}
	return body, nil
}

// maxPromised is how much memory a body gets before it has arrived.
const maxPromised = 64 << 10

// readAll reads a body that is said to be so long; -1: it is not said.
func readAll(body io.Reader, length int64) ([]byte, error) {
	if length < 0 || length > maxPromised {
		return io.ReadAll(body)
	}
	text := make([]byte, length)
	_, err := io.ReadFull(body, text)
	return text, err
}

// decodePlain reads a body that has nothing wrong with it, in one pass, and says
// whether it could. What it leaves is for decodeObject, which reads the same, looks
// at each value whether it is null, and says what is wrong. It does not see whether
// a member is there.
func decodePlain(body []byte, into any) bool {
	return !bytes.Contains(body, []byte("null")) && json.Unmarshal(body, into, plain) == nil
}

// decodeObject looks at the whole text first, so that what is no JSON is never
// reported as a wrong field.
func decodeObject(body []byte, into any, required ...string) error {
	var raw jsontext.Value
	if err := json.Unmarshal(body, &raw); err != nil {
		return notJSON(err)
	}
	return decodeMembers(raw, "the body ", into, required...)
}

// decodeMembers reads an object, called so, that is known to be JSON.
func decodeMembers(text jsontext.Value, called string, into any, required ...string) error {
	if kind := text.Kind(); kind != jsontext.KindBeginObject {
		return invalid.with(wrongField("", called+"must be an object, not "+kindWord(kind)))
	}
	if err := json.Unmarshal(text, into, strict); err != nil {
		return wrongMember(err)
	}
	var members map[string]jsontext.Value
	if err := json.Unmarshal(text, &members); err != nil {
		return notJSON(err)
	}
	var missing []api.ProblemError
	for _, name := range required {
		if _, ok := members[name]; !ok {
			missing = append(missing, wrongField(jsontext.Pointer("").AppendToken(name), "is required"))
		}
	}
	if len(missing) > 0 {
		return invalid.with(missing...)
	}
	return nil
}

// unreadable says why a body could not be read to its end.
func unreadable(err error) error {
	if limit, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return tooLarge.because("the body must be at most %d bytes long", limit.Limit)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return requestTimeout.because("the body did not arrive in time")
	}
	return malformed.because("the body ended early or is not sent as HTTP asks")
}

func notJSON(err error) error {
	syntax, ok := errors.AsType[*jsontext.SyntacticError](err)
	if !ok {
		return malformed.because("the body is not valid JSON")
	}
	if syntax.ByteOffset == 0 && errors.Is(err, io.ErrUnexpectedEOF) {
		return malformed.because("the body is empty; a JSON object is needed")
	}
	return malformed.because("the body is not valid JSON: %v, at byte %d", syntax.Err, syntax.ByteOffset)
}

// wrongMember says which member does not fit and why, without a word of Go.
func wrongMember(err error) error {
	semantic, ok := errors.AsType[*json.SemanticError](err)
	if !ok {
		return err
	}
	got := kindWord(semantic.JSONKind)
	if semantic.JSONKind == jsontext.KindNumber && len(semantic.JSONValue) > 0 && typeWord(semantic.GoType) == wholeNumber {
		got = fmt.Sprintf("%.40s", semantic.JSONValue)
	}
	detail := "must be " + typeWord(semantic.GoType) + ", not " + got
	value, inWords := errors.AsType[wrongValue](err)
	switch {
	case inWords:
		detail = string(value)
	case errors.Is(err, json.ErrUnknownName):
		detail = "is not a known field"
	case errors.Is(err, strconv.ErrRange):
		detail = "is too large a number"
	}
	return invalid.with(wrongField(semantic.JSONPointer, detail))
}

const wholeNumber = "a whole number"

// typeWord is what a member of the type must be.
func typeWord(t reflect.Type) string {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t == nil:
		return "something else"
	case t == reflect.TypeFor[time.Time]():
		return "a time as in RFC 3339"
	case t == reflect.TypeFor[jsontext.Value]():
		return "an object"
	}
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int32, reflect.Int64:
		return wholeNumber
	case reflect.Float64:
		return "a number"
	case reflect.Slice:
		return "an array"
	case reflect.Map, reflect.Struct:
		return "an object"
	}
	return "something else"
}

func kindWord(k jsontext.Kind) string {
	switch k {
	case jsontext.KindNull:
		return "null"
	case jsontext.KindTrue, jsontext.KindFalse:
		return "true or false"
	case jsontext.KindString:
		return "a string"
	case jsontext.KindNumber:
		return "a number"
	case jsontext.KindBeginObject:
		return "an object"
	case jsontext.KindBeginArray:
		return "an array"
	}
	return "what was sent"
}
