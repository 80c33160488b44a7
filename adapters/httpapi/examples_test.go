package httpapi_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/domain"
)

// TestExamples_AreWhatTheServiceTakesAndAnswers executes every example of
// openapi.yaml: what it shows as a request is sent, and what it shows as an answer
// is brought about, on both kinds of stores.
func TestExamples_AreWhatTheServiceTakesAndAnswers(t *testing.T) {
	doc, err := document()
	if err != nil {
		t.Fatal(err)
	}
	for name, open := range map[string]func(*testing.T) stores{"SQLite": openStores, "PostgreSQL": openServers} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := &examples{open: open, shared: open(t), used: map[string]bool{}}
			for _, path := range slices.Sorted(maps.Keys(doc.Paths.Map())) {
				item := doc.Paths.Value(path)
				for method, op := range item.Operations() {
					o := operation{op, method, path, slices.Concat(item.Parameters, op.Parameters)}
					e.requests(t, o)
					e.answers(t, o)
				}
			}
			for _, key := range slices.Concat(slices.Sorted(maps.Keys(requestSetups)), slices.Sorted(maps.Keys(responseSetups))) {
				if !e.used[key] {
					t.Errorf("there is no example %q any more", key)
				}
			}
		})
	}
}

// operation is an operation of openapi.yaml with all its parameters.
type operation struct {
	*openapi3.Operation
	method, path string
	params       openapi3.Parameters
}

// examples executes them.
type examples struct {
	open   func(*testing.T) stores
	shared stores
	used   map[string]bool // entries of the tables
}

// requests sends each example of a request: of a parameter, a header or a body.
func (e *examples) requests(t *testing.T, o operation) {
	for _, ref := range o.params {
		p := ref.Value
		for name, value := range e.named(t, o.OperationID+" "+p.In+" "+p.Name, p.Example, p.Examples) {
			e.request(t, name, o, func(r *request) { r.set(p, value) })
		}
	}
	if o.RequestBody == nil {
		return
	}
	for mediaType, content := range o.RequestBody.Value.Content {
		for name, value := range e.named(t, o.OperationID+" body", content.Example, content.Examples) {
			e.request(t, name, o, func(r *request) {
				r.body, r.header = encoded(t, value), http.Header{"Content-Type": {mediaType}}
			})
		}
	}
}

func (e *examples) request(t *testing.T, name string, o operation, fill func(*request)) {
	t.Run(name, func(t *testing.T) {
		sc, ok := lookUp(e.used, requestSetups, name)
		if !ok {
			t.Fatalf("requestSetups does not say what becomes of the example %q", name)
		}
		on := e.shared
		if sc.alone {
			on = e.open(t)
		}
		s := e.service(t, on, sc.exampleSetup)
		r := newRequest(o)
		fill(r)
		if sc.prepare != nil {
			sc.prepare(s, r)
		}
		if a := s.send(r); a.status != sc.want {
			t.Errorf("status %d %.200s, want %d", a.status, a.body, sc.want)
		}
	})
}

// answers brings about each example of an answer. The headers that a status shows
// have to be those of one of its examples.
func (e *examples) answers(t *testing.T, o operation) {
	for status, ref := range o.Responses.Map() {
		base := o.OperationID + " " + status
		seen := map[string][]string{} // values of headers
		shown := map[string]any{base: nil}
		for _, content := range ref.Value.Content {
			shown = e.named(t, base, content.Example, content.Examples)
		}
		for name, value := range shown {
			t.Run(name, func(t *testing.T) {
				sc, ok := lookUp(e.used, responseSetups, name)
				if !ok {
					t.Fatalf("responseSetups does not say how the example %q comes about", name)
				}
				on := e.shared
				if sc.alone {
					on = e.open(t)
				}
				s := e.service(t, on, sc)
				r := newRequest(o)
				if sc.prepare != nil {
					sc.prepare(s, r)
				}
				a := s.send(r)
				for header := range ref.Value.Headers {
					seen[header] = append(seen[header], plain(a.header.Get(header)))
				}
				if fmt.Sprint(a.status) != status {
					t.Fatalf("status %d %.200s, want %s", a.status, a.body, status)
				}
				wantShown(t, sc, value, a)
			})
		}
		for header, h := range ref.Value.Headers {
			for name, value := range e.named(t, base+" header "+header, h.Value.Example, h.Value.Examples) {
				if !slices.Contains(seen[header], plain(fmt.Sprint(value))) {
					t.Errorf("%s is %q, which no answer has: %q", name, value, seen[header])
				}
			}
		}
	}
}

// named lists the examples of a part of the document, of which there is at least one.
func (e *examples) named(t *testing.T, part string, single any, several openapi3.Examples) map[string]any {
	t.Helper()
	all := map[string]any{}
	if single != nil {
		all[part] = single
	}
	for name, ref := range several {
		all[part+" "+name] = ref.Value.Value
	}
	if len(all) == 0 {
		t.Errorf("%s has no example", part)
	}
	return all
}

// lookUp finds an entry: that of the operation, or that of all of them.
func lookUp[V any](used map[string]bool, table map[string]V, name string) (V, bool) {
	_, rest, _ := strings.Cut(name, " ")
	for _, key := range []string{name, "* " + rest} {
		if v, ok := table[key]; ok {
			used[key] = true
			return v, true
		}
	}
	var none V
	return none, false
}

func (e *examples) service(t *testing.T, on stores, sc exampleSetup) *service {
	t.Helper()
	on.clock = &steppingClock{start: time.Now()}
	if sc.change == nil {
		return newServiceOn(t, on, defaults)
	}
	return newServiceOn(t, on, defaults, sc.change)
}

// steppingClock never tells the same time twice: examples show which are the same.
type steppingClock struct {
	start time.Time
	steps atomic.Int64
}

func (c *steppingClock) Now() time.Time {
	return c.start.Add(time.Duration(c.steps.Add(1)) * time.Millisecond)
}

// request is what is about to be sent; what a exampleSetup does not set is as in the
// document's first example, about a pending task.
type request struct {
	operation
	values map[string]string // of the path
	query  string
	header http.Header
	body   string
	upload io.Reader // the body, if it is not a text
}

func newRequest(o operation) *request {
	r := &request{operation: o, values: map[string]string{"code": "conflict", "name": "default"}, header: http.Header{}}
	if o.RequestBody != nil {
		r.header.Set("Content-Type", "application/json")
		r.body = map[string]string{
			"submitTask": `{"message": "Hello World"}`, "submitBatch": `{"tasks": [{"message": "Hello"}, {"message": "World", "queue": "mail"}]}`,
			"changeTask": `{"status": "canceled"}`, "startBulk": begunBulk, "changeBulk": `{"status": "canceled"}`, "changeQueue": `{"paused": false}`,
		}[o.OperationID]
	}
	return r
}

// set gives the parameter a value. The id of an example is that of a task which
// is not there: the request's own stays.
func (r *request) set(p *openapi3.Parameter, value any) {
	var values []string
	if list, ok := value.([]any); ok {
		for _, v := range list {
			values = append(values, fmt.Sprint(v))
		}
	} else {
		values = []string{fmt.Sprint(value)}
	}
	switch p.In {
	case openapi3.ParameterInQuery:
		r.query = url.Values{p.Name: values}.Encode()
	case openapi3.ParameterInHeader:
		r.header[http.CanonicalHeaderKey(p.Name)] = values
	case openapi3.ParameterInPath:
		if p.Name != "id" {
			r.values[p.Name] = values[0]
		} else if _, err := domain.ParseTaskID(values[0]); err != nil {
			panic(err) // the document is part of the test
		}
	}
}

// send sends the request and checks that the answer is documented.
func (s *service) send(r *request) answer {
	s.t.Helper()
	switch {
	case r.values["id"] != "":
	case r.path == "/bulk/{id}":
		r.values["id"] = s.addBulk()
	case strings.Contains(r.path, "{id}"):
		r.values["id"] = s.add(pending)
	}
	path := r.path
	for name, value := range r.values {
		path = strings.ReplaceAll(path, "{"+name+"}", value)
	}
	if r.query != "" {
		path += "?" + r.query
	}
	upload := r.upload
	if upload == nil && r.body != "" {
		upload = strings.NewReader(r.body)
	}
	req, err := http.NewRequestWithContext(s.t.Context(), r.method, s.URL+path, upload)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header, req.Host = r.header, r.header.Get("Host")
	return s.do(req, r.body)
}

// wantShown checks that the answer is what the example shows, but for what differs
// from run to run.
func wantShown(t *testing.T, sc exampleSetup, example any, a answer) {
	t.Helper()
	switch {
	case example == nil:
		return
	case strings.HasSuffix(fmt.Sprint(example), "…"):
		if want := strings.TrimSuffix(example.(string), "…"); !strings.HasPrefix(strings.TrimSpace(a.body), want) {
			t.Errorf("the answer begins with %.40q, not with %q", a.body, want)
		}
		return
	case sc.text != "":
		if !strings.Contains(a.body, sc.text) {
			t.Errorf("the answer %.200q does not hold %q", a.body, sc.text)
		}
		return
	}
	var want, got any
	if err := errors.Join(json.Unmarshal([]byte(plain(encoded(t, example))), &want), json.Unmarshal([]byte(plain(a.body)), &got)); err != nil {
		t.Fatalf("%.200q: %v", a.body, err)
	}
	if sc.excerpt {
		got = excerpt(got, want)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the answer is another than the example (-example +answer):\n%s", diff)
	}
}

// excerpt is what of got there is in want.
func excerpt(got, want any) any {
	switch want := want.(type) {
	case map[string]any:
		whole, _ := got.(map[string]any)
		part := map[string]any{}
		for name := range want {
			if v, ok := whole[name]; ok {
				part[name] = excerpt(v, want[name])
			}
		}
		return part
	case []any:
		whole, _ := got.([]any)
		return slices.DeleteFunc(slices.Clone(whole), func(v any) bool {
			return !slices.ContainsFunc(want, func(w any) bool { return cmp.Equal(v, w) })
		})
	}
	return got
}

var (
	times    = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z`)
	ids      = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	cursors  = regexp.MustCompile(`\bAQ[\w-]{32}\b`)
	versions = regexp.MustCompile(`^"[1-9][0-9]*"$`)
)

// plain is a text without what differs from run to run: ids, workers, cursors,
// versions. Of times it keeps the order, and which of them are the same.
func plain(text string) string {
	text = cursors.ReplaceAllString(text, "CURSOR")
	text = ids.ReplaceAllString(text, "ID")
	text = versions.ReplaceAllString(text, "VERSION")
	inOrder := slices.Compact(slices.Sorted(slices.Values(times.FindAllString(text, -1))))
	return times.ReplaceAllStringFunc(text, func(at string) string {
		return fmt.Sprintf("time %d", slices.Index(inOrder, at)+1)
	})
}

func encoded(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
