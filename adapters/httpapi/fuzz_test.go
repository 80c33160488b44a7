package httpapi

import (
	"encoding/json"
	"errors"
	"testing"
	"unicode/utf8"

	"github.com/millrace/millrace/adapters/httpapi/internal/api"
	"github.com/millrace/millrace/domain"
)

// What the decoder takes, the standard library reads as the same message; what
// it refuses is a problem that the client can act on.
func FuzzDecodeTask(f *testing.F) {
	for _, seed := range []string{
		`{"message":"Hello World"}`, `{"message":"\ud83d\ude00\u0000"}`, `{"message":null}`, `{"message":1}`, `{}`, `null`,
		`{"message":"a","message":"b"}`, "{\"message\":\"\xff\"}", `{"message":"\ud800"}`, `{"a/b~":{}}`, ` {"message" : "x" } `, `{"message":"a"}x`, ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var in api.NewTask
		if err := decodeObject(body, &in, "message"); err != nil {
			p, ok := errors.AsType[*problem](err)
			if !ok || p.kind.status != 400 && p.kind.status != 422 {
				t.Fatalf("%q: %v", body, err)
			}
			return
		}
		var want struct{ Message *string }
		if err := json.Unmarshal(body, &want); err != nil || want.Message == nil || *want.Message != in.Message || !utf8.Valid(body) {
			t.Fatalf("%q was read as %q", body, in.Message)
		}
	})
}

// A cursor that is taken is one that the service has written.
func FuzzCursor(f *testing.F) {
	id := domain.TaskID{1, 2, 3}
	f.Add(encodeCursor(id, nil), uint8(0))
	f.Add(encodeCursor(id, domain.Statuses()), uint8(31))
	f.Add("", uint8(1))
	f.Add("AQ==", uint8(2))
	f.Add("\n\r____", uint8(3))
	f.Fuzz(func(t *testing.T, cursor string, mask uint8) {
		var filters []domain.Status
		for i, s := range domain.Statuses() {
			if mask&(1<<i) != 0 {
				filters = append(filters, s)
			}
		}
		last, err := decodeCursor(cursor, filters)
		if err == nil && encodeCursor(last, filters) != cursor {
			t.Fatalf("%q was taken for %s", cursor, last)
		}
		if got, err := decodeCursor(encodeCursor(id, filters), filters); err != nil || got != id {
			t.Fatalf("%v came back as %v, %v", id, got, err)
		}
		if _, err := decodeCursor(encodeCursor(id, append(filters, "other")), filters); !errors.Is(err, errOtherFilters) {
			t.Fatalf("other filters: %v", err)
		}
	})
}
