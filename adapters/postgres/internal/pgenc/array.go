package pgenc

import (
	"encoding/binary"
	"encoding/json"
	"time"

	"github.com/google/uuid"
	"github.com/lib/pq/oid"
)

// Type is a type of PostgreSQL, and how its values are sent: in binary, as
// nothing has to be quoted and parsed that way.
type Type[T any] struct {
	name   string
	oid    oid.Oid
	append func(b []byte, v T) []byte
	null   func(v T) bool // nil: no value is NULL
	size   func(v T) int  // in bytes; nil: few, whatever the value
}

// The types of values that are never NULL.
var (
	UUID = Type[uuid.UUID]{"uuid", oid.T_uuid, func(b []byte, v uuid.UUID) []byte { return append(b, v[:]...) }, nil, nil}
	Text = Type[string]{"text", oid.T_text, func(b []byte, v string) []byte { return append(b, v...) }, nil, func(v string) int { return len(v) }}
	Int  = Type[int64]{"bigint", oid.T_int8, func(b []byte, v int64) []byte { return binary.BigEndian.AppendUint64(b, uint64(v)) }, nil, nil}
	Bool = Type[bool]{"bool", oid.T_bool, func(b []byte, v bool) []byte {
		if v {
			return append(b, 1)
		}
		return append(b, 0)
	}, nil, nil}
	Bytes = Type[[]byte]{"bytea", oid.T_bytea, func(b, v []byte) []byte { return append(b, v...) }, nil, func(v []byte) int { return len(v) }}
	// Time counts microseconds, and truncates to them as the domain does.
	Time = Type[time.Time]{"timestamptz", oid.T_timestamptz, func(b []byte, v time.Time) []byte {
		return binary.BigEndian.AppendUint64(b, uint64(v.UnixMicro()-epoch))
	}, nil, nil}
)

// The types of values that are NULL when they are zero or empty.
var (
	TextOrNull = Text.orNull(func(v string) bool { return v == "" })
	IntOrNull  = Int.orNull(func(v int64) bool { return v == 0 })
	TimeOrNull = Time.orNull(time.Time.IsZero)
	// PairsOrNull is a JSON object whose values are strings.
	PairsOrNull = Type[map[string]string]{"jsonb", oid.T_jsonb, func(b []byte, v map[string]string) []byte {
		text, _ := json.Marshal(v)           // there is nothing in strings that could fail
		return append(append(b, 1), text...) // 1: the version of the format
	}, func(v map[string]string) bool { return len(v) == 0 }, nil}
)

// epoch is the zero of PostgreSQL's times, in microseconds of Unix time.
var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()

func (t Type[T]) orNull(null func(v T) bool) Type[T] {
	t.null = null
	return t
}

// Array encodes values as an array.
func (t Type[T]) Array(values []T) []byte {
	bytes := 0
	if t.size != nil {
		for _, v := range values {
			bytes += t.size(v)
		}
	}
	return arrayOf(t.oid, len(values), bytes, func(i int, b []byte) (_ []byte, null bool) {
		return t.append(b, values[i]), t.null != nil && t.null(values[i])
	})
}

// arrayOf encodes n values, each of which value appends to b, as an array of one
// dimension: see array_recv of PostgreSQL. They have so many bytes together, if they are
// not small: an array that grows while it is made takes several times its length.
func arrayOf(element oid.Oid, n, bytes int, value func(i int, b []byte) (_ []byte, null bool)) []byte {
	const hasNull = 4 // where the flag's four bytes begin
	dimensions := uint32(min(n, 1))
	b := make([]byte, 0, 20+n*24+bytes)
	b = binary.BigEndian.AppendUint32(b, dimensions)
	b = binary.BigEndian.AppendUint32(b, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(element))
	if n == 0 {
		return b
	}
	b = binary.BigEndian.AppendUint32(b, uint32(n))
	b = binary.BigEndian.AppendUint32(b, 1) // the first index
	for i := range n {
		length := len(b)
		b = append(b, 0xFF, 0xFF, 0xFF, 0xFF) // NULL
		with, null := value(i, b)
		if null {
			b[hasNull+3] = 1
			continue
		}
		b = with
		binary.BigEndian.PutUint32(b[length:], uint32(len(b)-length-4))
	}
	return b
}

// UUIDs encodes ids of any kind as an array.
func UUIDs[U ~[16]byte](ids []U) []byte {
	return arrayOf(oid.T_uuid, len(ids), 0, func(i int, b []byte) ([]byte, bool) { return append(b, ids[i][:]...), false })
}

// Texts encodes texts of any kind as an array: statuses, names of queues.
func Texts[S ~string](texts []S) []byte {
	return arrayOf(oid.T_text, len(texts), 0, func(i int, b []byte) ([]byte, bool) { return append(b, texts[i]...), false })
}
