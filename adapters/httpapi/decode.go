package httpapi

import (
	"errors"
	"io"
	"net/http"
	"os"
	"reflect"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/millrace/millrace/adapters/httpapi/internal/api"
)

// bodyLimit lets any message through that is allowed, however it is escaped:
// "\u0001" is six bytes for one.
func bodyLimit(messageBytes int) int64 { return 6*int64(messageBytes) + 4<<10 }

// Members that are null are refused: the zero value is not what was sent.
var strict = json.JoinOptions(
	json.RejectUnknownMembers(true),
	json.WithUnmarshalers(json.JoinUnmarshalers(
		json.UnmarshalFromFunc(func(dec *jsontext.Decoder, _ *string) error { return refuseNull(dec) }),
		json.UnmarshalFromFunc(func(dec *jsontext.Decoder, _ *bool) error { return refuseNull(dec) }),
	)),
)

// errNull says that a member is null; wrongMember says what it must be.
var errNull = errors.New("must not be null")

func refuseNull(dec *jsontext.Decoder) error {
	if dec.PeekKind() == jsontext.KindNull {
		return errNull
	}
	return errors.ErrUnsupported
}

// decode reads the JSON object in r's body into the struct that into points to.
// The types are the media types that the body may have, and required the members
// that it must have. Every error is a problem that says where.
func (h *handlers) decode(w http.ResponseWriter, r *http.Request, types []string, into any, required ...string) error {
	if err := checkContentType(r, types...); err != nil {
		return err
	}
	arrived := h.uploads.begin(w)
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, h.bodyLimit))
	arrived()
	if err != nil {
		return unreadable(err)
	}
	return decodeObject(body, into, required...)
}

// decodeObject looks at the whole text first, so that what is no JSON is never
// reported as a wrong field.
func decodeObject(body []byte, into any, required ...string) error {
	var raw jsontext.Value
	if err := json.Unmarshal(body, &raw); err != nil {
		return notJSON(err)
	}
	if kind := raw.Kind(); kind != jsontext.KindBeginObject {
		return invalid.with(wrongField("", "the body must be an object, not "+kindWord(kind)))
	}
	if err := json.Unmarshal(body, into, strict); err != nil {
		return wrongMember(err)
	}
	var members map[string]jsontext.Value
	if err := json.Unmarshal(body, &members); err != nil {
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
	detail := "must be " + typeWord(semantic.GoType) + ", not " + kindWord(semantic.JSONKind)
	switch {
	case errors.Is(err, json.ErrUnknownName):
		detail = "is not a known field"
	case errors.Is(err, errNull):
		detail = "must be " + typeWord(semantic.GoType) + ", not null"
	}
	return invalid.with(wrongField(semantic.JSONPointer, detail))
}

func typeWord(t reflect.Type) string {
	if t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t == nil:
		return "something else"
	case t.Kind() == reflect.String:
		return "a string"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case slices.Contains([]reflect.Kind{reflect.Int, reflect.Int32, reflect.Int64}, t.Kind()):
		return "a whole number"
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
