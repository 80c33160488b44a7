package httpapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/domain"
)

// wantProblem checks a whole problem document; detail is a part of its detail.
func wantProblem(t *testing.T, a answer, status int, code, detail string) {
	t.Helper()
	if a.status != status || a.header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("got %d %s %.300s, want the problem %d %s", a.status, a.header.Get("Content-Type"), a.body, status, code)
		return
	}
	p := a.problem(t)
	if p.Type != "/problems/"+code || p.Status != status || p.Title == "" || !strings.Contains(p.Detail, detail) {
		t.Errorf("got %s, want %s with %q", a.body, code, detail)
	}
}

func TestSubmit_RefusesWhatIsNotJSONWith400AndWhatIsWrongWith422(t *testing.T) {
	s := newService(t)
	long := strings.Repeat("a", messageBytes+1)
	for _, c := range []struct {
		body    string
		status  int
		detail  string
		pointer string // "-": no errors
	}{
		{"", 400, "the body is empty", "-"},
		{" ", 400, "unexpected EOF", "-"},
		{"{", 400, "at byte 1", "-"},
		{"hello", 400, "not valid JSON", "-"},
		{`{"message":"a"`, 400, "unexpected EOF", "-"},
		{`{"message":1`, 400, "unexpected EOF", "-"},
		{`[1,`, 400, "unexpected EOF", "-"},
		{`{"message":'a'}`, 400, "not valid JSON", "/message"},
		{`{"message":"a",}`, 400, "not valid JSON", "-"},
		{`{"message":"a"} x`, 400, "after top-level value", "-"},
		{`{"message":"a"}{}`, 400, "after top-level value", "-"},
		{`{"message":1} {}`, 400, "after top-level value", "-"},
		{`{"message":"a","message":"a"}`, 400, "duplicate", "/message"},
		{`{"x":{"a/b":1,"a/b":1}}`, 400, "duplicate", "/x/a~1b"},
		{`{"x":[0,` + strings.Repeat("[", 10_000), 400, "nested deeper than 10000 levels, at byte 10006", "/x/1" + strings.Repeat("/0", 248)},
		{"{\"message\":\"\xff\"}", 400, "UTF-8", "/message"},
		{"{\"message\":\"\xed\xa0\x80\"}", 400, "UTF-8", "/message"},
		{`{"message":"\ud800"}`, 400, "surrogate", "/message"},
		{`{"message":"\udc00\ud800"}`, 400, "surrogate", "/message"},
		{"\ufeff{}", 400, "not valid JSON", "-"},
		{"{\"message\":\"a\nb\"}", 400, "not valid JSON", "/message"},
		{`{"message":"a","priority":1.5}`, 422, "priority: must be a whole number, not 1.5", "/priority"},
		{`{}`, 422, "message: is required", "/message"},
		{`{"message":null}`, 422, "message: must be a string, not null", "/message"},
		{`{"message":1}`, 422, "message: must be a string, not a number", "/message"},
		{`{"message":["a"]}`, 422, "message: must be a string, not an array", "/message"},
		{`{"message":{"a":"b"}}`, 422, "message: must be a string, not an object", "/message"},
		{`{"message":true}`, 422, "message: must be a string, not true or false", "/message"},
		{`{"message":""}`, 422, "message: must not be empty", "/message"},
		{`{"message":"a\u0000b"}`, 422, "NUL", "/message"},
		{`{"Message":"a"}`, 422, "Message: unknown field", "/Message"},
		{`{"message":"a","prio":1}`, 422, "prio: unknown field", "/prio"},
		{`{"message":"a","a/b~c\n":1}`, 422, "unknown field", "/a~1b~0c\n"},
		{`{"message":"a","` + long + `":1}`, 422, `a"…: unknown field`, ""},
		{`{"message":"a","metadata":{"` + long + `":1}}`, 422, `a"…: must be a string, not a number`, "/metadata"},
		{`null`, 422, "must be an object, not null", ""},
		{`[]`, 422, "must be an object, not an array", ""},
		{`"a"`, 422, "must be an object, not a string", ""},
		{`1`, 422, "must be an object, not a number", ""},
		{`{"message":"` + long + `"}`, 413, "at most 4000 bytes", "/message"},
		{`{"message":"` + strings.Repeat(long, 40) + `"}`, 413, "the body must be at most 138688 bytes", "-"},
	} {
		code := map[int]string{400: "malformed", 413: "too_large", 422: "invalid"}[c.status]
		a := s.call(http.MethodPost, "/tasks", c.body)
		wantProblem(t, a, c.status, code, c.detail)
		errs := a.problem(t).Errors
		if c.pointer == "-" && errs == nil {
			continue
		}
		// A pointer to the whole body is empty, and left out.
		if len(errs) != 1 || (errs[0].Pointer == nil) != (c.pointer == "") || c.pointer != "" && *errs[0].Pointer != c.pointer {
			t.Errorf("%.40q: %s, want the pointer %q", c.body, a.body, c.pointer)
		}
	}
	if list := s.follow(""); len(list) != 0 {
		t.Errorf("%d tasks were stored", len(list))
	}
}

func TestProblems_NameWhatIsWrong(t *testing.T) {
	s := newService(t)
	id := s.submit("x")
	const ok = `{"message":"x"}`
	for _, c := range []struct {
		method, path, body string
		header             string
		status             int
		code, detail       string
	}{
		{"GET", "/tasks/42", "", "", 400, "malformed", `"42" is not a UUID`},
		{"GET", "/tasks/%00", "", "", 400, "malformed", "is not a UUID"},
		{"GET", "/tasks/a%2Fb", "", "", 400, "malformed", "is not a UUID"},
		{"GET", "/tasks/%FF", "", "", 400, "malformed", "is not a UUID"},
		{"GET", "/tasks/{" + id + "}", "", "", 400, "malformed", "is not a UUID"},
		{"GET", "/tasks/" + strings.ReplaceAll(id, "-", ""), "", "", 400, "malformed", "is not a UUID"},
		{"PATCH", "/tasks/42", `{"status":"canceled"}`, "", 400, "malformed", "is not a UUID"},
		{"PATCH", "/tasks/" + id, `{"status":`, "", 400, "malformed", "not valid JSON"},
		{"GET", "/tasks?limit=%zz", "", "", 400, "malformed", "the query is malformed"},
		{"GET", "/tasks?a;b", "", "", 400, "malformed", "the query is malformed"},
		{"GET", "/tasks/" + domain.NewTaskID(time.Now()).String(), "", "", 404, "not_found", "task not found"},
		{"PATCH", "/tasks/" + domain.NewTaskID(time.Now()).String(), `{"status":"canceled"}`, "", 404, "not_found", "task not found"},
		{"GET", "/nothing", "", "", 404, "no_such_path", "nothing at this path"},
		{"GET", "/docs/", "", "", 404, "no_such_path", ""},
		{"GET", "/docs/other.js", "", "", 404, "no_such_path", ""},
		{"GET", "/problems/none", "", "", 404, "no_such_path", "no problem with this code"},
		{"GET", "/tasks%2F" + id, "", "", 404, "no_such_path", ""},
		{"PUT", "/tasks/" + id, "", "", 405, "method_not_allowed", `method "PUT" not allowed; allowed: DELETE, GET, HEAD, OPTIONS, PATCH`},
		{"PUT", "/tasks", ok, "", 405, "method_not_allowed", ""},
		{"BREW", "/tasks", ok, "", 405, "method_not_allowed", ""},
		{"GET", "/tasks", "", "Accept: text/html", 406, "not_acceptable", "application/json"},
		{"GET", "/tasks", "", "Accept: application/json;q=0", 406, "not_acceptable", ""},
		{"POST", "/tasks", ok, "Accept: image/*", 406, "not_acceptable", ""},
		{"GET", "/openapi.yaml", "", "Accept: application/json", 406, "not_acceptable", "application/yaml"},
		{"GET", "/docs", "", "Accept: application/json", 406, "not_acceptable", "text/html"},
		{"POST", "/tasks", ok, "Content-Type: text/plain", 415, "unsupported_media_type", `not "text/plain"`},
		{"POST", "/tasks", ok, "Content-Type: application/merge-patch+json", 415, "unsupported_media_type", ""},
		{"POST", "/tasks", ok, "Content-Type: application/json; charset=latin1", 415, "unsupported_media_type", ""},
		{"POST", "/tasks", ok, "Content-Type: application/json; charset=utf-16", 415, "unsupported_media_type", ""},
		{"POST", "/tasks", ok, "Content-Type: application/json-seq", 415, "unsupported_media_type", ""},
		{"POST", "/tasks", ok, "Content-Type: application/jsonx", 415, "unsupported_media_type", ""},
		{"POST", "/tasks", ok, "Content-Type: +json", 415, "unsupported_media_type", ""},
		{"POST", "/tasks", ok, "Content-Type: json", 415, "unsupported_media_type", ""},
		{"POST", "/tasks", ok, "Content-Encoding: gzip", 415, "unsupported_media_type", "is not supported"},
		{"PATCH", "/tasks/" + id, `{"status":"canceled"}`, "Content-Type: application/json-patch+json", 415, "unsupported_media_type", "merge-patch"},
		{"PATCH", "/tasks/" + id, `{"status":"processing"}`, "", 422, "invalid", "status: can be set to canceled"},
		{"PATCH", "/tasks/" + id, `{"status":"completed"}`, "", 422, "invalid", "not to completed"},
		{"PATCH", "/tasks/" + id, `{"status":"failed"}`, "", 422, "invalid", "not to failed"},
		{"PATCH", "/tasks/" + id, `{"status":"Canceled"}`, "", 422, "invalid", `unknown status "Canceled"`},
		{"PATCH", "/tasks/" + id, `{"status":null}`, "", 422, "invalid", "status: must be a string, not null"},
		{"PATCH", "/tasks/" + id, `{}`, "", 422, "invalid", "status: is required"},
		{"PATCH", "/tasks/" + id, `{"status":"canceled","message":"y"}`, "", 422, "invalid", "message: unknown field"},
		{"GET", "/tasks?status=done", "", "", 422, "invalid", `status: unknown status "done"`},
		{"GET", "/tasks?status=pending,", "", "", 422, "invalid", `status: unknown status ""`},
		{"GET", "/tasks?limit=0", "", "", 422, "invalid", "limit: must be from 1 to 1000"},
		{"GET", "/tasks?limit=-1", "", "", 422, "invalid", "limit: must be from 1 to 1000"},
		{"GET", "/tasks?limit=1001", "", "", 422, "invalid", "limit: must be from 1 to 1000"},
		{"GET", "/tasks?limit=1e4", "", "", 422, "invalid", "limit: must be from 1 to 1000"},
		{"GET", "/tasks?limit=1.5", "", "", 422, "invalid", `limit: must be a whole number, not "1.5"`},
		{"GET", "/tasks?limit=x", "", "", 422, "invalid", `limit: must be a whole number, not "x"`},
		{"GET", "/tasks?limit=99999999999999999999", "", "", 422, "invalid", "limit: must be from 1 to 1000"},
		{"GET", "/tasks/" + id + "?wait=99999999999999999999", "", "", 422, "invalid", "wait: must be from 0 to 60"},
		{"GET", "/tasks/" + id + "?wait=-1&x=1", "", "", 422, "invalid", "wait: must be from 0 to 60; x: unknown parameter"},
		{"GET", "/tasks?limit=1&limit=2", "", "", 422, "invalid", "limit: must not be repeated"},
		{"GET", "/tasks?state=pending", "", "", 422, "invalid", "state: unknown parameter"},
		{"GET", "/tasks?c=1&a=1&b=1", "", "", 422, "invalid", "a: unknown parameter; b: unknown parameter; c: unknown"},
		{"GET", "/tasks?%ff=1", "", "", 422, "invalid", "unknown parameter"},
		{"POST", "/tasks?limit=1", ok, "", 422, "invalid", "limit: unknown parameter"},
		{"GET", "/tasks/" + id + "?x=1", "", "", 422, "invalid", "x: unknown parameter"},
	} {
		var headers []string
		if c.header != "" {
			headers = []string{c.header}
		}
		a := s.call(c.method, c.path, c.body, headers...)
		wantProblem(t, a, c.status, c.code, c.detail)
		if c.status == 422 && a.problem(t).Errors == nil {
			t.Errorf("%s %s: no errors in %s", c.method, c.path, a.body)
		}
	}
	if a := s.call("GET", "/tasks/"+id, ""); a.fields(t)["status"] != "pending" {
		t.Errorf("a refused request changed the task: %s", a.body)
	}
}

func TestSubmit_TakesWhatClientsSend(t *testing.T) {
	s := newService(t)
	for _, header := range []string{
		"Content-Type: ", "Content-Type: application/json; charset=UTF-8", "Content-Type: Application/JSON",
		"Content-Type: application/json; charset=utf8", "Content-Type: application/json;charset=\"US-ASCII\"", "Content-Type: application/json;",
		"Content-Type: application/json; charset", "Content-Type: application/vnd.x+json", "Content-Type: application/ld+json; profile=x",
		"Accept: */*", "Accept: application/*;q=0.1", "Accept: application/json; charset=utf-8", "Accept: application/json;charset=UTF-8",
		"Accept: text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2", // what Java sends
		"Accept: text/html, application/json", "Content-Encoding: identity",
	} {
		if a := s.call("POST", "/tasks", `{"message":"x"}`, header); a.status != http.StatusCreated {
			t.Errorf("%s: %d %s", header, a.status, a.body)
		}
	}
}

// A client that meets a damaged record hears what is wrong with it each time, and the log once.
func TestFail_SaysWhatIsDamagedOrRefused(t *testing.T) {
	s := newService(t)
	for range 3 {
		s.store.set(func(context.Context) error {
			return domain.Errorf(domain.CodeDamaged, "task 1 is in an impossible state")
		})
		a := s.call("POST", "/tasks", `{"message":"x"}`)
		wantProblem(t, a, http.StatusInternalServerError, "damaged", "task 1 is in an impossible state")
		s.store.set(func(context.Context) error { return fmt.Errorf("%w: hunter2", domain.ErrRefused) })
		a = s.call("POST", "/tasks", `{"message":"x"}`)
		wantProblem(t, a, http.StatusUnprocessableEntity, "refused", domain.ErrRefused.Message)
		if strings.Contains(a.body, "hunter2") {
			t.Errorf("the answer is %s", a.body)
		}
	}
	log := s.log.String()
	if n := strings.Count(log, "a record in the database is damaged"); n != 1 {
		t.Errorf("the damaged record was logged %d times: %s", n, log)
	}
	if n := strings.Count(log, "hunter2"); n != 3 {
		t.Errorf("the refusals were logged %d times: %s", n, log)
	}
	const id = "0190b9a7-7b7b-7000-8000-000000000000"
	s.store.set(func(context.Context) error {
		return domain.Errorf(domain.CodeDamaged, "task 2 is in an impossible state")
	})
	s.call("GET", "/tasks/"+id, "")
	if log := s.log.String(); !strings.Contains(log, `"task":"`+id+`"`) {
		t.Errorf("the line does not name the task: %s", log)
	}
}

func TestFail_TellsNothingOfADefectAndLogsItOnce(t *testing.T) {
	s := newService(t)
	secret := errors.New("dial postgres://user:hunter2@db")
	for name, before := range map[string]func(context.Context) error{
		"error": func(context.Context) error { return secret },
		"domain": func(context.Context) error {
			return fmt.Errorf("%w: %w", domain.Errorf(domain.CodeInternal, "hunter2"), secret)
		},
		"panic": func(context.Context) error { panic(secret) },
	} {
		s.store.set(before)
		logged := strings.Count(s.log.String(), "hunter2@db")
		a := s.call("POST", "/tasks", `{"message":"x"}`)
		wantProblem(t, a, http.StatusInternalServerError, "internal", "internal error")
		if strings.Contains(a.body, "hunter2") {
			t.Errorf("%s: the answer is %s", name, a.body)
		}
		if n := strings.Count(s.log.String(), "hunter2@db") - logged; n != 1 {
			t.Errorf("%s was logged %d times: %s", name, n, s.log)
		}
	}
	if log := s.log.String(); !strings.Contains(log, `"stack"`) || !strings.Contains(log, `"route":"/tasks"`) {
		t.Errorf("the log lacks the stack or the route: %s", log)
	}
	s.store.set(nil)
	s.submit("the process lives")
}

func TestFail_AnswersUnavailableWithRetryAfter(t *testing.T) {
	s := newService(t)
	s.store.set(func(context.Context) error { return fmt.Errorf("%w: %w", domain.ErrUnavailable, errors.New("hunter2")) })
	for _, a := range []answer{s.call("POST", "/tasks", `{"message":"x"}`), s.call("GET", "/tasks", "")} {
		wantProblem(t, a, http.StatusServiceUnavailable, "unavailable", "try again")
		if a.header.Get("Retry-After") != "2" || strings.Contains(a.body, "hunter2") {
			t.Errorf("%v %s", a.header, a.body)
		}
	}
}

func TestFail_DoesNotLogAClientThatHungUp(t *testing.T) {
	s := newService(t)
	waiting, done := make(chan struct{}), make(chan struct{})
	s.store.set(func(ctx context.Context) error {
		close(waiting)
		<-ctx.Done()
		defer close(done)
		return ctx.Err()
	})
	ctx, hangUp := context.WithCancel(t.Context())
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/tasks", nil)
	go func() { <-waiting; hangUp() }()
	if res, err := http.DefaultClient.Do(req); err == nil {
		res.Body.Close()
		t.Fatal("the request was answered")
	}
	<-done
	s.Close() // waits for the handler
	if log := s.log.String(); strings.Contains(log, "ERROR") {
		t.Error(log)
	}
}

func TestDecode_ABodyThatDoesNotArriveIsATimeout(t *testing.T) {
	s := newService(t, shortReadTimeout)
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_, _ = fmt.Fprint(conn, "POST /tasks HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
	got, _ := io.ReadAll(conn)
	if !strings.HasPrefix(string(got), "HTTP/1.1 408 ") || !strings.Contains(string(got), "/problems/request_timeout") {
		t.Errorf("got %s", got)
	}
}

func TestProblems_AreDescribedWhereTheirTypeLeads(t *testing.T) {
	s := newService(t)
	var list struct {
		Problems []struct{ Type, Meaning string }
	}
	if err := json.Unmarshal([]byte(s.call("GET", "/problems", "").body), &list); err != nil || len(list.Problems) < 12 {
		t.Fatalf("%d problems, %v", len(list.Problems), err)
	}
	for _, p := range list.Problems {
		if one := s.call("GET", p.Type, "").fields(t); one["meaning"] != p.Meaning || p.Meaning == "" {
			t.Errorf("%s leads to %v", p.Type, one)
		}
	}
}

// No input makes a 5xx, and every answer is a documented one.
func TestAPI_SurvivesHostileRequests(t *testing.T) {
	s := newService(t)
	s.stopWaiting()
	id := s.submit("x")
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	pick := func(of ...string) string { return of[rnd.IntN(len(of))] }
	mutate := func(text string) string {
		b := []byte(text)
		for range rnd.IntN(4) {
			i := rnd.IntN(len(b) + 1)
			switch rnd.IntN(3) {
			case 0:
				b = append(b[:i:i], append([]byte(pick("\x00", "\xff", `"`, "{", "}", `\u`, "%", "/", "\ud7ff", ",", ":", "null", "1e999", " ")), b[i:]...)...)
			case 1:
				b = append(b[:i:i], b[min(i+rnd.IntN(3), len(b)):]...)
			case 2:
				if i < len(b) {
					b[i] = byte(rnd.IntN(256))
				}
			}
		}
		return string(b)
	}
	for range 1500 {
		method := pick("GET", "POST", "PATCH", "PUT", "DELETE", "HEAD", "OPTIONS", "TRACE", "X")
		path := pick("/tasks", "/tasks/"+id, "/tasks?limit=1&status=pending&cursor=AQ", "/", "/docs", "/problems/invalid", "/openapi.json", "/readyz")
		body := ""
		if method != "GET" && method != "HEAD" {
			body = mutate(pick(`{"message":"Hello World"}`, `{"status":"canceled"}`, `{"message":"\ud83d\ude00"}`, `[]`))
		}
		target := "/" + strings.TrimPrefix(mutate(path), "/")
		if u, err := url.ParseRequestURI(target); err != nil || strings.ContainsAny(target, " #\r\n\x7f\t\x00") || u.Host != "" {
			target = path // not even HTTP
		}
		header := pick("Accept: */*", "Accept: "+strings.Trim(printable(mutate("application/json;q=0.5, text/*")), " "),
			"If-None-Match: "+printable(mutate(`W/"1", "2"`)), "Content-Type: "+printable(mutate("application/json; charset=utf-8")))
		req, err := http.NewRequestWithContext(t.Context(), method, s.URL+target, strings.NewReader(body))
		if err != nil {
			continue
		}
		if name, value, _ := strings.Cut(header, ": "); value != "" {
			req.Header.Set(name, value)
		}
		if a := s.do(req, body); a.status >= 500 {
			t.Fatalf("%s %q %q with %q: %d %s", method, target, body, header, a.status, a.body)
		}
	}
}

func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '.'
		}
		return r
	}, s)
}
