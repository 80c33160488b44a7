package httpapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/millrace/millrace/adapters/httpapi/internal/api"
	"github.com/millrace/millrace/application/usecase"
	"github.com/millrace/millrace/domain"
)

// What the decoder takes, the standard library reads as the same task; what it
// refuses is a problem that the client can act on. Of what it takes, the domain
// makes a task or says which fields are wrong.
func FuzzDecodeTask(f *testing.F) {
	for _, seed := range []string{
		`{"message":"Hello World"}`, `{"message":"\ud83d\ude00\u0000"}`, `{"message":null}`, `{"message":1}`, `{}`, `null`,
		`{"message":"a","message":"b"}`, "{\"message\":\"\xff\"}", `{"message":"\ud800"}`, `{"a/b~":{}}`,
		`{"message":"a","queue":"mail","priority":9,"run_at":"2026-12-24T18:00:00+01:00","max_attempts":3,"timeout":0.5,"metadata":{"a":"b"}}`,
		`{"message":"a","delay":1e-9}`, `{"message":"a","delay":1e18,"timeout":-0}`, `{"message":"a","priority":1.0}`, `{"message":"a","priority":90e-1,"max_attempts":1E+1}`, `{"message":"a","run_at":"2026-1-2"}`, ` {"message" : "x" } `, `{"message":"a"}x`, ``,
		`{"message":"a","priority":-0,"metadata":{"a":null}}`, `{"message":"null","max_attempts":9223372036854775808}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		spec, err := decodeTask(body, traceContext{})
		if err != nil {
			p, ok := errors.AsType[*problem](err)
			if !ok || p.kind.status != 400 && p.kind.status != 422 {
				t.Fatalf("%q: %v", body, err)
			}
			return
		}
		if want, err := standardSpec(body); err != nil || !reflect.DeepEqual(spec, want) || !utf8.Valid(body) {
			t.Fatalf("%q was read as %+v, not %+v: %v", body, spec, want, err)
		}
		if spec.MaxAttempts == nil {
			spec.MaxAttempts = new(1)
		}
		if _, err := domain.NewTask(spec, time.Unix(1767225600, 0)); err != nil && len(domain.Public(err).Fields) == 0 {
			t.Fatalf("%q: %v", body, err)
		}
	})
}

// whole is a whole number, read by the standard library however it is written.
type whole int

func (n *whole) UnmarshalJSON(text []byte) error {
	exact, ok := new(big.Rat).SetString(string(text))
	if !ok || !exact.IsInt() || !exact.Num().IsInt64() {
		return fmt.Errorf("%s is no whole number", text)
	}
	*n = whole(exact.Num().Int64())
	return nil
}

// standardSpec reads a task with the standard library.
func standardSpec(body []byte) (domain.TaskSpec, error) {
	var in struct {
		Message     string
		Queue       *domain.QueueName
		Priority    whole
		RunAt       *time.Time `json:"run_at"`
		Delay       *float64
		MaxAttempts *whole `json:"max_attempts"`
		Timeout     *float64
		Metadata    map[string]string
	}
	err := json.Unmarshal(body, &in)
	spec := domain.TaskSpec{
		Message: in.Message, Queue: in.Queue, Priority: int(in.Priority), RunAt: in.RunAt, MaxAttempts: (*int)(in.MaxAttempts), Metadata: in.Metadata,
	}
	if in.Delay != nil {
		spec.Delay = new(seconds(*in.Delay))
	}
	if in.Timeout != nil {
		spec.Timeout = new(seconds(*in.Timeout))
	}
	return spec, err
}

// Each task of a batch is read, or refused for the same reason, as it is alone.
func FuzzDecodeBatch(f *testing.F) {
	for _, seed := range []string{
		`{"message":"a"}`, `{"message":"b","priority":9,"run_at":"2026-12-24T18:00:00+01:00","metadata":{"a":"null"}}`, `{"message":""}`, `{}`, `null`, `1`,
		`[{"message":"a"}]`, `{"message":"a","queue":""}`, `{"message":"a","message":"b"}`, `"a`, "{\"message\":\"\xff\"}", `{"x":[{}],"message":"a"}`, `{"metadata":{"a":["b"]}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, task []byte) {
		alone, aloneErr := decodeTask(task, traceContext{parent: "trace"})
		var in usecase.SubmitTasksInput
		err := decodeBatch(fmt.Appendf(nil, `{"tasks":[{"message":"first"},%s,{"message":"last"}]}`, task), traceContext{parent: "trace"}, &in)
		if err != nil {
			if p := problemOf(err); p.kind.code != malformed.code || aloneErr == nil || problemOf(aloneErr).kind.code != malformed.code {
				return // the text ends the array, or is several tasks, or none
			}
			return
		}
		if len(in.Tasks) != 3 || in.Tasks[0].Message != "first" || in.Tasks[2].Message != "last" {
			return
		}
		wrong, refused := in.Unreadable[1]
		switch {
		case refused != (aloneErr != nil), !refused && !reflect.DeepEqual(in.Tasks[1], alone):
			t.Fatalf("%q is %+v, %v; in a batch %+v, %v", task, alone, aloneErr, in.Tasks[1], wrong)
		case refused && wrong.Field != "" && "/"+wrong.Field != problemOf(aloneErr).errors[0].Pointer:
			t.Fatalf("%q is refused for %v; in a batch for %v", task, problemOf(aloneErr).errors, wrong)
		}
	})
}

// A cursor that is taken is one that the service has written.
func FuzzCursor(f *testing.F) {
	id := domain.TaskID{1, 2, 3}
	f.Add(encodeCursor(id, filterQuery(domain.TaskFilter{})), uint8(0), "")
	f.Add(encodeCursor(id, filterQuery(domain.TaskFilter{Statuses: domain.Statuses()})), uint8(31), "")
	f.Add("", uint8(1), "text")
	f.Add("AQ==", uint8(2), "&status=pending")
	f.Add("\n\r____", uint8(3), "\xff")
	f.Fuzz(func(t *testing.T, cursor string, mask uint8, text string) {
		filter := domain.TaskFilter{Text: text}
		for i, s := range domain.Statuses() {
			if mask&(1<<i) != 0 {
				filter.Statuses = append(filter.Statuses, s)
			}
		}
		last, err := decodeCursor(cursor, filterQuery(filter))
		if err == nil && encodeCursor(last, filterQuery(filter)) != cursor {
			t.Fatalf("%q was taken for %s", cursor, last)
		}
		if got, err := decodeCursor(encodeCursor(id, filterQuery(filter)), filterQuery(filter)); err != nil || got != id {
			t.Fatalf("%v came back as %v, %v", id, got, err)
		}
		other := filter
		other.Text += "x"
		if _, err := decodeCursor(encodeCursor(id, filterQuery(other)), filterQuery(filter)); !errors.Is(err, errDifferentFilters) {
			t.Fatalf("other filters: %v", err)
		}
	})
}

// A key that is taken can be sent in quotes too, with parameters, and is the same.
func FuzzIdempotencyKey(f *testing.F) {
	for _, seed := range []string{
		`"8e03978e-40d5-43dd-bc93-6894a57f9324"`, `8e03978e`, `""`, `"a\"b\\"`, `"a" ; b=1;c="x\"";d=?0;e=:YQ==:;*f=1.5`, `"a", "b"`, `"a`, `"a\b"`, ` `, "é", `a"b`,
		`"` + strings.Repeat("x", 255) + `"`, strings.Repeat("x", 256),
	} {
		f.Add(seed)
	}
	quote := strings.NewReplacer(`\`, `\\`, `"`, `\"`)
	f.Fuzz(func(t *testing.T, value string) {
		if _, err := idempotencyKey(http.Header{headerKey: {value, value}}); err == nil {
			t.Fatalf("%q was taken twice", value)
		}
		key, err := idempotencyKey(http.Header{headerKey: {value}})
		if err != nil {
			p, ok := errors.AsType[*problem](err)
			if !ok || p.kind.status != 422 || len(p.errors) != 1 || p.errors[0].Parameter != headerKey {
				t.Fatalf("%q: %v", value, err)
			}
			return
		}
		if len(key) < 1 || len(key) > 255 || !strings.HasPrefix(value, `"`) && value != key {
			t.Fatalf("%q was taken for %q", value, key)
		}
		for _, same := range []string{`"` + quote.Replace(key) + `"`, `"` + quote.Replace(key) + `";a;b="c"`} {
			if got, err := idempotencyKey(http.Header{headerKey: {same}}); err != nil || got != key {
				t.Fatalf("%q is %q, %v; %q is %q", value, key, err, same, got)
			}
		}
	})
}

// A filter that is taken comes back the same from the link to the next page.
func FuzzFilter(f *testing.F) {
	for _, seed := range []string{
		"", "status=failed,pending&status=failed", "queue=mail&queue=a.b,default", "created_from=2026-01-15T09:30:00.000001%2B01:00",
		"created_before=2026-01-15T24:00:00Z", "created_before=2026-01-15T09:30:00Z", "finished_from=2026-01-15T09:30:00Z&finished_before=9999-12-31T23:59:59.999999999Z",
		"created_before=0001-01-01T00:00:00Z", "metadata=a:b&metadata=c:&metadata=a:b", "metadata=a:b&metadata=a:c", "metadata=%00:%ff", "text=%ff", "text=a%26b%2Bc", "queue=A", "metadata=k:v:w,x",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		query, err := url.ParseQuery(text)
		if err != nil {
			return
		}
		filter, err := queryFilter(paramsOf(query))
		if err != nil {
			p, ok := errors.AsType[*problem](err)
			if !ok || p.kind.status != 422 || len(p.errors) == 0 {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		again, err := queryFilter(paramsOf(filterQuery(filter)))
		if err != nil || filterQuery(again).Encode() != filterQuery(filter).Encode() || !reflect.DeepEqual(inUTC(again), inUTC(filter)) {
			t.Fatalf("%q: %+v came back as %+v, %v", text, filter, again, err)
		}
	})
}

// paramsOf binds a query as the generated code does, empty values left out.
func paramsOf(query url.Values) (params api.ListTasksParams) {
	list := func(name string) *[]string {
		values := slices.DeleteFunc(slices.Clone(query[name]), func(v string) bool { return v == "" })
		if len(values) == 0 {
			return nil
		}
		return &values
	}
	return api.ListTasksParams{
		Status: list("status"), Queue: list("queue"), Metadata: list("metadata"), Text: nonZero(query.Get("text")),
		CreatedFrom: nonZero(query.Get("created_from")), CreatedBefore: nonZero(query.Get("created_before")),
		FinishedFrom: nonZero(query.Get("finished_from")), FinishedBefore: nonZero(query.Get("finished_before")),
	}
}

func inUTC(f domain.TaskFilter) domain.TaskFilter {
	for _, at := range []*time.Time{&f.CreatedFrom, &f.CreatedBefore, &f.FinishedFrom, &f.FinishedBefore} {
		*at = at.UTC()
	}
	return f
}
