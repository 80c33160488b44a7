package api

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Field is a member of a request. It tells a zero value that was given from a
// member that was left out. Null is refused, unless T is a pointer: nil, then.
type Field[T any] struct {
	Given bool
	Value T
}

// Of returns a field that is given.
func Of[T any](v T) Field[T] { return Field[T]{Given: true, Value: v} }

// Pointer returns a copy of the value, or nil if none was given.
func (f Field[T]) Pointer() *T {
	if !f.Given {
		return nil
	}
	v := f.Value
	return &v
}

// WrongValue is a value that a request cannot have.
type WrongValue struct {
	At     jsontext.Pointer
	Detail string
}

// Error says what is wrong.
func (e *WrongValue) Error() string { return e.Detail }

// wrong is about the value that dec has read last.
func wrong(dec *jsontext.Decoder, detail string) error {
	return &WrongValue{At: dec.StackPointer(), Detail: detail}
}

// UnmarshalJSONFrom reads the value, or returns a WrongValue.
func (f *Field[T]) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	f.Given = true
	return read(dec, &f.Value)
}

// MarshalJSONTo writes the value. One that is not given is null, which omitempty omits.
func (f Field[T]) MarshalJSONTo(enc *jsontext.Encoder) error {
	if !f.Given {
		return enc.WriteToken(jsontext.Null)
	}
	return json.MarshalEncode(enc, f.Value)
}

// read reads what members of requests consist of. It names the types in words of
// JSON, which reflection could not, and refuses null inside lists and maps too.
func read(dec *jsontext.Decoder, into any) error {
	switch into := into.(type) {
	case *string:
		return readString(dec, into)
	case *bool:
		value, err := readScalar(dec, "true or false", jsontext.KindTrue, jsontext.KindFalse)
		*into = err == nil && value.Kind() == jsontext.KindTrue
		return err
	case *int:
		return readInt(dec, into)
	case *float64:
		return readFloat(dec, into)
	case *time.Time:
		return readTime(dec, into)
	case *[]string:
		return readList(dec, into)
	case *map[string]string:
		return readMap(dec, into)
	case **int:
		return readNullable(dec, into)
	case **string:
		return readNullable(dec, into)
	}
	return ReadObject(dec, into)
}

// ReadObject reads an object into a struct that consists of fields. An error is about
// the text as JSON, a json.SemanticError about a member, or a WrongValue.
func ReadObject(dec *jsontext.Decoder, into any) error {
	if dec.PeekKind() != jsontext.KindBeginObject {
		_, err := readScalar(dec, "an object")
		return err
	}
	return json.UnmarshalDecode(dec, into)
}

// ReadBegin reads the beginning of an array or an object.
func ReadBegin(dec *jsontext.Decoder, kind jsontext.Kind) error {
	if dec.PeekKind() != kind {
		_, err := readScalar(dec, KindInWords(kind))
		return err
	}
	_, err := dec.ReadToken()
	return err
}

func readNullable[T any](dec *jsontext.Decoder, into **T) error {
	if dec.PeekKind() == jsontext.KindNull {
		*into = nil
		_, err := dec.ReadToken()
		return err
	}
	*into = new(T)
	return read(dec, *into)
}

// readScalar reads a value of one of the kinds, which is called so in words. The value
// is valid until the next is read.
func readScalar(dec *jsontext.Decoder, words string, kinds ...jsontext.Kind) (jsontext.Value, error) {
	value, err := dec.ReadValue()
	if err != nil {
		return nil, err
	}
	if !slices.Contains(kinds, value.Kind()) {
		return nil, mismatch(dec, words, value.Kind())
	}
	return value, nil
}

// mismatch is about the value of the wrong kind that dec has read last.
func mismatch(dec *jsontext.Decoder, words string, kind jsontext.Kind) error {
	return wrong(dec, "must be "+words+", not "+KindInWords(kind))
}

func readString(dec *jsontext.Decoder, into *string) error {
	text, err := readText(dec, "a string")
	*into = text
	return err
}

// readText reads a string, which is called so in words.
func readText(dec *jsontext.Decoder, words string) (string, error) {
	value, err := readScalar(dec, words, jsontext.KindString)
	if err != nil {
		return "", err
	}
	if bytes.IndexByte(value, '\\') < 0 {
		return string(value[1 : len(value)-1]), nil // without its quotes
	}
	text, err := jsontext.AppendUnquote(nil, value)
	return string(text), err
}

const (
	wholeNumber = "a whole number"
	tooLarge    = "is too large a number"
)

// readInt takes a whole number however it is written: 1.0 and 1e3 are such.
func readInt(dec *jsontext.Decoder, into *int) error {
	text, err := readScalar(dec, wholeNumber, jsontext.KindNumber)
	if err != nil {
		return err
	}
	*into, err = parseWhole(string(text))
	switch {
	case errors.Is(err, strconv.ErrRange):
		return wrong(dec, tooLarge)
	case err != nil:
		return wrong(dec, fmt.Sprintf("must be %s, not %s", wholeNumber, shortened(string(text))))
	}
	return nil
}

// ParseWhole reads a whole number that a client wrote outside of JSON, in one of the ways of
// JSON or with leading zeros. Its error is one of strconv.
func ParseWhole(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if v := jsontext.Value(text); err != nil && v.IsValid() && v.Kind() == jsontext.KindNumber {
		return parseWhole(text)
	}
	return n, err
}

// parseWhole reads a number of JSON that is whole, exactly. Its error is one of strconv.
func parseWhole(text string) (int, error) {
	if n, err := strconv.Atoi(text); err == nil { // as most are
		return n, nil
	}
	number, negative := strings.CutPrefix(strings.ToLower(text), "-")
	mantissa, exponent, _ := strings.Cut(number, "e")
	whole, fraction, _ := strings.Cut(mantissa, ".")
	shift, _ := strconv.ParseInt(exponent, 10, 32) // none is 0, and one out of range the nearest
	digits := strings.TrimRight(whole+fraction, "0")
	zeros := len(whole) - len(digits) + int(shift) // after the digits; below 0: digits of the fraction
	if digits = strings.TrimLeft(digits, "0"); digits == "" {
		return 0, nil
	}
	const maxDigits = 19
	switch {
	case zeros < 0:
		return 0, strconv.ErrSyntax
	case len(digits)+zeros > maxDigits:
		return 0, strconv.ErrRange
	}
	digits += strings.Repeat("0", zeros)
	if negative {
		digits = "-" + digits
	}
	return strconv.Atoi(digits)
}

// shortened is a number as a message shows it.
func shortened(text string) string {
	const most = 40
	if len(text) > most {
		return text[:most] + "…"
	}
	return text
}

func readFloat(dec *jsontext.Decoder, into *float64) error {
	text, err := readScalar(dec, "a number", jsontext.KindNumber)
	if err != nil {
		return err
	}
	if *into, err = strconv.ParseFloat(string(text), 64); err != nil {
		return wrong(dec, tooLarge)
	}
	return nil
}

func readTime(dec *jsontext.Decoder, into *time.Time) error {
	text, err := readText(dec, "a time as in RFC 3339")
	if err != nil {
		return err
	}
	if *into, err = ParseTime(text); err != nil {
		return wrong(dec, err.Error())
	}
	return nil
}

var (
	errNotATime   = errors.New("must be a time as in RFC 3339, such as 2026-01-15T09:30:00Z")
	errLeapSecond = errors.New("must not be in a leap second (:60), which Millrace cannot keep: send the second after it, or before")
)

// rfc3339 is the grammar of RFC 3339, section 5.6: time.Parse takes more than that, and no
// small letters, which the RFC allows.
var rfc3339 = regexp.MustCompile(`^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:(\d\d)(?:\.\d+)?(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)$`)

// ParseTime reads a time as RFC 3339 spells it, and nothing else. A leap second has no
// time.Time of its own: none is stored as another.
func ParseTime(text string) (time.Time, error) {
	parts := rfc3339.FindStringSubmatchIndex(text)
	if parts == nil {
		return time.Time{}, errNotATime
	}
	if from, to := parts[2], parts[3]; text[from:to] == "60" {
		// The rest has to be a time all the same.
		if _, err := ParseTime(text[:from] + "59" + text[to:]); err != nil {
			return time.Time{}, err
		}
		return time.Time{}, errLeapSecond
	}
	t, err := time.Parse(time.RFC3339, strings.ToUpper(text))
	if err != nil {
		return time.Time{}, errNotATime
	}
	return t, nil
}

func readList(dec *jsontext.Decoder, into *[]string) error {
	if err := ReadBegin(dec, jsontext.KindBeginArray); err != nil {
		return err
	}
	*into = []string{}
	for dec.PeekKind() != jsontext.KindEndArray {
		var s string
		if err := read(dec, &s); err != nil {
			return err
		}
		*into = append(*into, s)
	}
	_, err := dec.ReadToken()
	return err
}

func readMap(dec *jsontext.Decoder, into *map[string]string) error {
	if err := ReadBegin(dec, jsontext.KindBeginObject); err != nil {
		return err
	}
	*into = map[string]string{}
	for dec.PeekKind() != jsontext.KindEndObject {
		name, err := dec.ReadToken()
		if err != nil {
			return err
		}
		key := name.String() // before the next token, which voids it
		var value string
		if err := read(dec, &value); err != nil {
			return err
		}
		(*into)[key] = value
	}
	_, err := dec.ReadToken()
	return err
}

// KindInWords is what a value of the kind is called.
func KindInWords(k jsontext.Kind) string {
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
