package httpapi_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
)

var (
	randomSeed     = flag.Uint64("random.seed", 0, "seed of the random requests; 0: another each time")
	randomRequests = flag.Int("random.requests", 10_000, "how many random requests to make")
)

// Whatever is sent, the answer is one that openapi.yaml has, and no 5xx.
func TestRandomRequests_GetDocumentedAnswers(t *testing.T) {
	seed := *randomSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-random.seed=%d repeats these requests", seed)
	s := newService(t)
	s.stopWaiting()
	g := newGenerator(t, seed)
	answers, deletions := map[int]int{}, map[int]int{}
	for range *randomRequests {
		req, body := g.request()
		record := httptest.NewRecorder()
		s.server.Handler().ServeHTTP(record, req)
		a := answer{record.Code, record.Header(), record.Body.String()}
		answers[a.status]++
		if req.Method == http.MethodDelete {
			deletions[a.status]++
		}
		if req.Method == http.MethodHead {
			a.body = "" // which net/http leaves out
		}
		if err := documented(req, body, a); err != nil || a.status >= 500 {
			t.Errorf("%s %s %.200q %.300q: %d %.300s: %v", req.Method, req.URL.RequestURI(), req.Header, body, a.status, a.body, err)
		}
		g.learn(a)
		if t.Failed() && answers[a.status] > 20 {
			break
		}
	}
	t.Logf("answers by status: %v", answers)
	for _, status := range []int{200, 201, 204, 302, 304, 400, 404, 405, 406, 409, 413, 415, 422} {
		if *randomRequests >= 10_000 && answers[status] == 0 {
			t.Errorf("no request was answered with %d: they are not random enough", status)
		}
	}
	for _, status := range []int{204, 404, 409, 412} {
		if *randomRequests >= 10_000 && deletions[status] == 0 {
			t.Errorf("no DELETE was answered with %d: they are not random enough", status)
		}
	}
}

// generator makes requests from the document: valid ones, and ones that are
// wrong in places, and hostile ones.
type generator struct {
	*rand.Rand
	doc   *openapi3.T
	paths []string
	// what answers had, to be sent again
	ids, cursors, etags []string
	keys                int // Idempotency-Keys, so far
}

func newGenerator(t *testing.T, seed uint64) *generator {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromFile("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	paths := doc.Paths.InMatchingOrder()
	slices.Sort(paths)
	return &generator{Rand: rand.New(rand.NewPCG(seed, 0)), doc: doc, paths: paths}
}

// learn keeps the newest of what later requests can refer to.
func (g *generator) learn(a answer) {
	keep := func(list *[]string, v string) {
		if v != "" {
			*list = append(*list, v)
			*list = (*list)[max(0, len(*list)-20):]
		}
	}
	keep(&g.etags, a.header.Get("ETag"))
	var seen struct {
		ID         string `json:"id"`
		NextCursor string `json:"next_cursor"`
	}
	if json.Unmarshal([]byte(a.body), &seen) == nil {
		keep(&g.ids, seen.ID)
		keep(&g.cursors, seen.NextCursor)
	}
}

// chance is true n times of a hundred.
func (g *generator) chance(n int) bool { return g.IntN(100) < n }

func pick[T any](g *generator, list []T) T { return list[g.IntN(len(list))] }

var hostile = []string{
	"", " ", "\x00", "\xff\xfe", "null", "-1", "0", "1e309", "9223372036854775808", "%zz", "%00", "../..", "//", "\r\nX: y",
	"'; DROP TABLE tasks;--", "<script>", "😀", "\u202e", "{}", "[]", `"`, `\`, "true", "NaN", "%2f", "a,b", ",", "*", strings.Repeat("A", 5000),
}

var moments = []string{
	"2026-01-15T09:30:00Z", "2026-01-15T09:30:00.123456789+05:30", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z",
	"0000-01-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-01-15T24:00:00Z", "2026-01-15", "2026-01-15T09:30:00", "tomorrow",
}

func (g *generator) request() (*http.Request, string) {
	path := pick(g, g.paths)
	if g.chance(75) {
		path = pick(g, []string{"/tasks", "/tasks", "/tasks/{id}", "/tasks/{id}", "/tasks/batch", "/tasks/bulk", "/queues/{name}"})
	}
	item := g.doc.Paths.Value(path)
	method := pick(g, slices.Sorted(maps.Keys(item.Operations())))
	op := item.Operations()[method]
	if g.chance(5) {
		method = pick(g, []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get", "Ö", "QUERY"})
	} else if method == http.MethodGet && g.chance(5) {
		method = http.MethodHead
	}
	header, query := http.Header{}, []string{}
	for _, ref := range append(slices.Clone(item.Parameters), op.Parameters...) {
		p := ref.Value
		switch p.In {
		case openapi3.ParameterInPath:
			path = strings.ReplaceAll(path, "{"+p.Name+"}", g.inPath(p))
		case openapi3.ParameterInQuery:
			for g.chance(40) {
				query = append(query, g.escape(p.Name)+"="+g.escape(g.parameter(p)))
			}
		case openapi3.ParameterInHeader:
			for g.chance(50) {
				header.Add(p.Name, g.parameter(p))
			}
		}
	}
	if g.chance(5) {
		query = append(query, g.escape(pick(g, hostile))+"="+g.escape(pick(g, hostile)))
	}
	if g.chance(3) {
		path += pick(g, []string{"/", "//", "/..", "/.", "%2f", ";x", "/x", "%", "\x7f", "?"})
	}
	if path == "/" && g.chance(30) {
		header.Set("Accept", "text/html")
	} else if g.chance(15) {
		header.Set("Accept", pick(g, append([]string{"application/json", "text/html", "*/*", "text/plain", "application/*;q=0", "*; q=.2", "application/yaml"}, hostile...)))
	}
	body := g.body(op, header)
	return g.assemble(method, path, strings.Join(query, "&"), header, body), body
}

// assemble makes the request as net/http would have read it.
func (g *generator) assemble(method, path, query string, header http.Header, body string) *http.Request {
	u, err := url.ParseRequestURI(path)
	if err != nil { // net/http refuses it, before any handler
		u = &url.URL{Path: path}
	}
	if u.RawQuery = query; g.chance(2) {
		u.RawQuery = pick(g, hostile)
	}
	req := httptest.NewRequest(http.MethodGet, "/", io.NopCloser(strings.NewReader(body)))
	req.Host = "localhost"
	req.Method, req.URL, req.RequestURI, req.Header = method, u, u.RequestURI(), header
	if req.ContentLength = int64(len(body)); g.chance(5) {
		req.ContentLength = -1 // chunked
	}
	return req
}

// escape escapes as a client has to, mostly.
func (g *generator) escape(s string) string {
	if g.chance(3) {
		return s
	}
	return url.QueryEscape(s)
}

func (g *generator) inPath(p *openapi3.Parameter) string {
	if len(g.ids) > 0 && p.Schema.Value.Format == "uuid" && g.chance(85) {
		id := pick(g, g.ids)
		if g.chance(5) {
			id = strings.ToUpper(id)
		}
		return id
	}
	if text, ok := p.Example.(string); ok && g.chance(80) {
		return text
	}
	return url.PathEscape(pick(g, hostile))
}

// parameter is a value of the parameter: its example, or one of what was seen,
// or of its schema, or a hostile one.
func (g *generator) parameter(p *openapi3.Parameter) string {
	switch {
	case g.chance(10):
		return pick(g, hostile)
	case p.Name == "cursor" && len(g.cursors) > 0:
		return pick(g, g.cursors)
	case p.Name == "If-None-Match" && len(g.etags) > 0:
		return pick(g, g.etags)
	case p.Name == "wait": // of which there are many
		return pick(g, []string{"0", "-1", "61", "0.5", "1e9"})
	case p.Name == "status":
		return pick(g, g.doc.Components.Schemas["TaskStatus"].Value.Enum).(string)
	case p.Name == "Idempotency-Key":
		if g.chance(70) { // another one
			g.keys++
		}
		return fmt.Sprintf(pick(g, []string{"key-%d", `"key-%d"`, `"key-%d";a=1`, `"key-%d`, "key %d"}), g.keys)
	case p.Name == "metadata":
		return pick(g, []string{"customer:c-1042", "a:", ":", "a", "a b:c", "k:v:w"})
	case strings.HasSuffix(p.Name, "_from"), strings.HasSuffix(p.Name, "_before"):
		return pick(g, moments)
	case p.Name == "queue":
		return pick(g, []string{"default", "mail", "a.b_c-d", "mail,default", "Mail", "-"})
	}
	return fmt.Sprint(g.value(p.Schema.Value, 0))
}

// body makes a body for the operation and says what it is in the header.
func (g *generator) body(op *openapi3.Operation, header http.Header) string {
	if op.RequestBody == nil {
		if g.chance(95) {
			return ""
		}
		return pick(g, hostile)
	}
	name := pick(g, slices.Sorted(maps.Keys(op.RequestBody.Value.Content)))
	text, err := json.Marshal(g.value(op.RequestBody.Value.Content[name].Schema.Value, 0))
	if err != nil {
		panic(err) // values are made of what JSON has
	}
	switch {
	case g.chance(85):
		header.Set("Content-Type", name)
	case g.chance(50):
		header.Set("Content-Type", pick(g, append([]string{"text/plain", name + "; charset=utf-8", name + ";charset=latin1", name + ";;"}, hostile...)))
	}
	if g.chance(2) {
		header.Set("Content-Encoding", pick(g, []string{"gzip", "identity", ""}))
	}
	if g.chance(15) {
		return g.mangle(string(text))
	}
	return string(text)
}

// mangle breaks a text somewhere.
func (g *generator) mangle(s string) string {
	at := g.IntN(len(s) + 1)
	switch g.IntN(5) {
	case 0:
		return s[:at]
	case 1:
		return s[:at] + pick(g, hostile) + s[at:]
	case 2:
		return s + s
	case 3:
		return strings.Replace(s, "{", `{"message":"twice","status":"canceled",`, 1)
	}
	return strings.Repeat("[", 100*g.IntN(200)) + s
}

// value makes a value of the schema, or nearly so.
func (g *generator) value(s *openapi3.Schema, depth int) any {
	if g.chance(2) || depth > 6 {
		return pick(g, []any{nil, true, 1, -1.5, 1e300, "text", "", "\x00", []any{}, map[string]any{}, strings.Repeat("[", 50)})
	}
	switch {
	case len(s.AllOf) > 0:
		return g.value(s.AllOf[0].Value, depth)
	case s.Nullable && g.chance(30):
		return nil
	case len(s.Enum) > 0 && g.chance(85):
		return pick(g, s.Enum)
	case s.Type.Is(openapi3.TypeObject):
		object := map[string]any{}
		for _, name := range slices.Sorted(maps.Keys(s.Properties)) { // in an order that the seed repeats
			if name == "run_at" && g.chance(90) { // it goes without delay
				continue
			}
			if g.chance(map[bool]int{true: 95, false: 50}[slices.Contains(s.Required, name)]) {
				object[name] = g.value(s.Properties[name].Value, depth+1)
			}
		}
		if of := s.AdditionalProperties.Schema; of != nil {
			for range g.IntN(3) {
				object[pick(g, []string{"customer", "a", "a b", ""})] = g.value(of.Value, depth+1)
			}
		}
		if g.chance(5) {
			object[pick(g, hostile)] = pick(g, hostile)
		}
		return object
	case s.Type.Is(openapi3.TypeArray):
		list := make([]any, g.IntN(4))
		for i := range list {
			list[i] = g.value(s.Items.Value, depth+1)
		}
		return list
	case s.Type.Is(openapi3.TypeInteger):
		low, high := 0.0, 100.0
		if s.Min != nil {
			low = *s.Min
		}
		if s.Max != nil {
			high = *s.Max
		}
		if g.chance(30) {
			return pick(g, []int{int(low), int(high), int(low) - 1, int(high) + 1})
		}
		return int(low) + g.IntN(min(int(high-low), 20)) // mostly small, for the sake of time
	case s.Type.Is(openapi3.TypeNumber):
		if g.chance(70) {
			return *s.Min + float64(g.IntN(100))/8
		}
		return pick(g, []any{*s.Min, *s.Max, *s.Min - 1e-9, *s.Max * 1.001, 1e-300, 1e300, json.Number("1e400"), json.Number("-0")})
	case s.Type.Is(openapi3.TypeBoolean):
		return g.chance(50)
	case s.Format == "date-time":
		return pick(g, moments)
	case s.Pattern != "" && g.chance(80): // names of queues, rates
		return pick(g, []string{"mail", "default", "100/s", "1/h"})
	}
	switch {
	case g.chance(10):
		return pick(g, hostile)
	case g.chance(3):
		return strings.Repeat("é", messageBytes*g.IntN(4))
	}
	return strings.Repeat(pick(g, []string{"Hello ", "\u0001", "😀", `"\`, "a"}), g.IntN(8)+1)
}
