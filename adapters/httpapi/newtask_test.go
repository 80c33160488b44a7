package httpapi_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/adapters/httpapi"
	"github.com/millrace/millrace/application/usecase"
	"github.com/millrace/millrace/domain"
)

func TestSubmit_ShowsAllThatWasAskedFor(t *testing.T) {
	s := newService(t)
	a := s.call(http.MethodPost, "/tasks", `{"message":"x","queue":"a.b_c-9","priority":9.0,"run_at":"2031-01-02T03:04:05.123456789+01:00",
		"max_attempts":1000,"timeout":0.1,"metadata":{"B":"","a._-":"é\"\n"}}`)
	task := a.fields(t)
	for _, name := range []string{"id", "created_at", "updated_at"} {
		delete(task, name)
	}
	want := map[string]any{
		"message": "x", "status": "pending", "attempt": 0.0, "failures": 0.0, "max_attempts": 1000.0,
		"run_at": "2031-01-02T02:04:05.123456Z", "queue": "a.b_c-9", "priority": 9.0, "timeout": 0.1,
		"metadata": map[string]any{"B": "", "a._-": "é\"\n"},
	}
	if diff := cmp.Diff(want, task); a.status != http.StatusCreated || diff != "" {
		t.Errorf("%d %s", a.status, diff)
	}
	if again := s.call(http.MethodGet, a.header.Get("Location"), ""); again.body != a.body {
		t.Errorf("GET answers %s, POST %s", again.body, a.body)
	}
	members := `"id","message","status","created_at","updated_at","attempt","failures","max_attempts","run_at","queue","priority","timeout","metadata"`
	at := 0
	for name := range strings.SplitSeq(members, ",") {
		i := strings.Index(a.body[at:], name+":")
		if i < 0 {
			t.Fatalf("%s is not after those before it: %s", name, a.body)
		}
		at += i
	}
}

func TestSubmit_KnowsWhenTheTaskIsToRun(t *testing.T) {
	s := newService(t)
	for body, want := range map[string]time.Duration{
		`"delay":0`: 0, `"delay":-0`: 0, `"delay":1e-9`: 0, `"delay":0.25`: 250 * time.Millisecond, `"delay":1.5e1`: 15 * time.Second,
		`"delay":315360000`: domain.MaxDelay, `"run_at":"2020-01-01T00:00:00Z"`: 0, `"run_at":"0001-01-01T00:00:00Z"`: 0,
		`"run_at":"0000-01-01T00:00:00+23:59"`: 0,
	} {
		a := s.call(http.MethodPost, "/tasks", `{"message":"x",`+body+`}`)
		var task struct {
			RunAt     time.Time `json:"run_at"`
			CreatedAt time.Time `json:"created_at"`
		}
		if err := json.Unmarshal([]byte(a.body), &task); err != nil || a.status != http.StatusCreated || task.RunAt.Sub(task.CreatedAt) != want {
			t.Errorf("%s: %d %s, want a wait of %s", body, a.status, a.body, want)
		}
	}
}

func TestSubmit_NamesEveryMemberThatIsWrong(t *testing.T) {
	s := newService(t)
	for members, detail := range map[string]string{
		`"queue":""`:                                "queue: must not be empty",
		`"queue":"Mail"`:                            "queue: must be 1 to 64",
		`"queue":"a/b"`:                             "queue: must be 1 to 64",
		`"queue":1`:                                 "queue: must be a string, not a number",
		`"queue":null`:                              "queue: must be a string, not null",
		`"priority":-1`:                             "priority: must be from 0 to 9, not -1",
		`"priority":10`:                             "priority: must be from 0 to 9, not 10",
		`"priority":1.0e1`:                          "priority: must be from 0 to 9, not 10",
		`"priority":10e-2`:                          "priority: must be a whole number, not 10e-2",
		`"priority":"1"`:                            "priority: must be a whole number, not a string",
		`"priority":null`:                           "priority: must be a whole number, not null",
		`"priority":9223372036854775808`:            "priority: is too large a number",
		`"max_attempts":0`:                          "max_attempts: must be from 1 to 1000, not 0",
		`"max_attempts":1001`:                       "max_attempts: must be from 1 to 1000, not 1001",
		`"max_attempts":2.5`:                        "max_attempts: must be a whole number, not 2.5",
		`"timeout":0`:                               "timeout: must be from 0.1 to 604800 seconds",
		`"timeout":-1`:                              "timeout: must be from 0.1 to 604800 seconds",
		`"timeout":0.09`:                            "timeout: must be from 0.1 to 604800 seconds",
		`"timeout":604800.001`:                      "timeout: must be from 0.1 to 604800 seconds",
		`"timeout":1e300`:                           "timeout: must be from 0.1 to 604800 seconds",
		`"timeout":1e400`:                           "timeout: is too large a number",
		`"timeout":true`:                            "timeout: must be a number, not true or false",
		`"delay":-1e-300`:                           "delay: must be from 0 to 315360000 seconds",
		`"delay":315360000.1`:                       "delay: must be from 0 to 315360000 seconds",
		`"delay":9223372036.854775`:                 "delay: must be from 0 to 315360000 seconds",
		`"delay":1e300`:                             "delay: must be from 0 to 315360000 seconds",
		`"delay":-1e300`:                            "delay: must be from 0 to 315360000 seconds",
		`"delay":1e400`:                             "delay: is too large a number",
		`"delay":"5"`:                               "delay: must be a number, not a string",
		`"delay":null`:                              "delay: must be a number, not null",
		`"run_at":"2100-01-01T00:00:00Z"`:           "run_at: must be within the next ten years",
		`"run_at":"9999-12-31T23:59:59Z"`:           "run_at: must be within the next ten years",
		`"run_at":"2031-01-01"`:                     "run_at: must be a time as in RFC 3339, such as",
		`"run_at":"2031-01-01 00:00:00Z"`:           "run_at: must be a time as in RFC 3339",
		`"run_at":"2031-01-01T1:00:00Z"`:            "run_at: must be a time as in RFC 3339",
		`"run_at":"2031-01-01T00:00:00,5Z"`:         "run_at: must be a time as in RFC 3339",
		`"run_at":"2031-02-30T00:00:00Z"`:           "run_at: must be a time as in RFC 3339",
		`"run_at":"2031-01-01T00:00:00+24:00"`:      "run_at: must be a time as in RFC 3339",
		`"run_at":""`:                               "run_at: must be a time as in RFC 3339",
		`"run_at":1893456000`:                       "run_at: must be a time as in RFC 3339, not a number",
		`"run_at":null`:                             "run_at: must be a time as in RFC 3339, not null",
		`"delay":0,"run_at":"2020-01-01T00:00:00Z"`: "delay: cannot be combined with run_at",
		`"metadata":[]`:                             "metadata: must be an object, not an array",
		`"metadata":null`:                           "metadata: must be an object, not null",
		`"metadata":{"a b":""}`:                     `metadata/a b: invalid key "a b"`,
		`"metadata":{"a~/b":""}`:                    `metadata/a~0~1b: invalid key "a~/b"`,
		`"metadata":{"a":"\u0000"}`:                 "metadata/a: the value of a must be valid UTF-8 without the NUL",
		`"metadata":{"a":"` + strings.Repeat("x", 513) + `"}`: "metadata/a: the value of a must be at most 512 bytes long, not 513",
		`"run_at":"2026-12-31T23:59:60Z"`:                     "run_at: must not be in a leap second",
	} {
		a := s.call(http.MethodPost, "/tasks", `{"message":"x",`+members+`}`)
		wantProblem(t, a, http.StatusUnprocessableEntity, "invalid", detail)
		name, _, _ := strings.Cut(detail, ":")
		if errs := a.problem(t).Errors; len(errs) != 1 || errs[0].Pointer == nil || *errs[0].Pointer != "/"+name {
			t.Errorf("%s: %s", members, a.body)
		}
	}
	// A member of a member is named by its place.
	a := s.call(http.MethodPost, "/tasks", `{"message":"x","metadata":{"a":1}}`)
	wantProblem(t, a, http.StatusUnprocessableEntity, "invalid", "metadata/a: must be a string, not a number")
	// And all at once.
	a = s.call(http.MethodPost, "/tasks", `{"message":"","queue":"","priority":10,"max_attempts":0,"timeout":0,"delay":1,"run_at":"2031-01-01T00:00:00Z","metadata":{"":""}}`)
	var places []string
	for _, e := range a.problem(t).Errors {
		places = append(places, *e.Pointer)
	}
	if diff := cmp.Diff([]string{"/delay", "/max_attempts", "/message", "/metadata/", "/priority", "/queue", "/timeout"}, places); diff != "" {
		t.Errorf("%s: %s", diff, a.body)
	}
	if n := len(s.follow("")); n != 0 {
		t.Errorf("%d tasks were stored", n)
	}
}

// Every fault of a pair has its place, in a batch too, and a place is no longer than an
// answer may be.
func TestSubmit_NamesEachPairThatIsWrong(t *testing.T) {
	s := newService(t)
	long := strings.Repeat("k", 1000)
	const pairs = `{"good":"v","a/b":"","c":"\u0000"}`
	for body, want := range map[string]string{
		`{"message":"x","metadata":` + pairs + `}`:                                  "/metadata/a~1b /metadata/c",
		`{"message":"x","metadata":{"` + long + `":""}}`:                            "/metadata",
		`{"tasks":[{"message":"x"},{"message":"x","metadata":` + pairs + `}]}`:      "/tasks/1/metadata/a~1b /tasks/1/metadata/c",
		`{"tasks":[{"message":""},{"message":"x","metadata":{"` + long + `":""}}]}`: "/tasks/0/message /tasks/1/metadata",
	} {
		path := "/tasks"
		if strings.HasPrefix(body, `{"tasks"`) {
			path = "/tasks/batch"
		}
		a := s.call(http.MethodPost, path, body)
		var places []string
		for _, e := range a.problem(t).Errors {
			places = append(places, *e.Pointer)
		}
		if got := strings.Join(places, " "); a.status != http.StatusUnprocessableEntity || got != want {
			t.Errorf("%.80s: %d %s, want %s", body, a.status, got, want)
		}
	}
	a := s.call(http.MethodPost, "/tasks", `{"message":"x","run_at":"2026-01-15t09:30:00z"}`)
	if a.status != http.StatusCreated {
		t.Errorf("a time in small letters: %d %s", a.status, a.body)
	}
}

// What is as large as it may be arrives, however it is escaped.
func TestSubmit_TakesTheLargestTask(t *testing.T) {
	s := newService(t)
	pairs := map[string]string{}
	for i := range domain.MaxMetadata {
		pairs[fmt.Sprintf("%0*d", domain.MaxMetadataKey, i)] = strings.Repeat("\x01", domain.MaxMetadataValue)
	}
	metadata, err := json.Marshal(pairs)
	if err != nil {
		t.Fatal(err)
	}
	body := `{"message":"` + strings.Repeat(`\u0001`, messageBytes) + `","metadata":` + string(metadata) + `}`
	a := s.call(http.MethodPost, "/tasks", body)
	if a.status != http.StatusCreated || len(a.fields(t)["metadata"].(map[string]any)) != domain.MaxMetadata {
		t.Errorf("%d %.200s", a.status, a.body)
	}
}

func TestSubmit_KeepsTheTraceOfTheRequest(t *testing.T) {
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	s := newService(t)
	for want, headers := range map[string][]string{
		trace:              {"traceparent: " + trace},
		"":                 {"traceparent: " + trace, "traceparent: " + trace, "tracestate: a=b"},
		trace + " a=b,c=d": {"traceparent: " + trace, "tracestate: a=b", "tracestate: c=d"},
		trace + " ":        {"traceparent: " + trace, "tracestate: a=b, no state"},
	} {
		single := s.call(http.MethodPost, "/tasks", `{"message":"x"}`, headers...)
		batch := s.call(http.MethodPost, "/tasks/batch", `{"tasks":[{"message":"x"}]}`, headers...)
		var made struct{ Tasks []struct{ ID string } }
		if err := json.Unmarshal([]byte(batch.body), &made); err != nil || len(made.Tasks) != 1 {
			t.Fatal(batch.body)
		}
		for _, id := range []string{single.fields(t)["id"].(string), made.Tasks[0].ID} {
			taskID, err := domain.ParseTaskID(id)
			if err != nil {
				t.Fatal(err)
			}
			task, err := s.store.Get(t.Context(), taskID)
			parent, state, _ := strings.Cut(want, " ")
			if got := task.State(); err != nil || got.TraceParent != parent || got.TraceState != state {
				t.Errorf("%q: %v with %q, %v", headers, got.TraceParent, got.TraceState, err)
			}
		}
	}
	if a := s.call(http.MethodPost, "/tasks", `{"message":"x"}`, "traceparent: no trace"); a.status != http.StatusCreated {
		t.Errorf("a trace that is none: %d %s", a.status, a.body)
	}
}

func TestBatch_StoresAllInOrderOrNone(t *testing.T) {
	s := newService(t)
	var items []string
	for i := range usecase.MaxBatch {
		items = append(items, fmt.Sprintf(`{"message":"%d","priority":%d}`, i, i%10))
	}
	batch := func(items ...string) string { return `{"tasks":[` + strings.Join(items, ",") + `]}` }
	a := s.call(http.MethodPost, "/tasks/batch", batch(items...))
	var made struct {
		Tasks []struct {
			ID, Message string
			Priority    int
		}
	}
	if err := json.Unmarshal([]byte(a.body), &made); err != nil || a.status != http.StatusCreated || len(made.Tasks) != usecase.MaxBatch {
		t.Fatalf("%d, %d tasks, %v", a.status, len(made.Tasks), err)
	}
	for i, task := range made.Tasks {
		if task.Message != fmt.Sprint(i) || task.Priority != i%10 || i > 0 && task.ID <= made.Tasks[i-1].ID {
			t.Fatalf("task %d is %+v", i, task)
		}
	}

	wantPlaces := func(body string, want ...string) {
		t.Helper()
		a := s.call(http.MethodPost, "/tasks/batch", body)
		wantProblem(t, a, http.StatusUnprocessableEntity, "invalid", "")
		var got []string
		for _, e := range a.problem(t).Errors {
			got = append(got, *e.Pointer+" "+e.Detail)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	wrong := make([]string, 13)
	for i := range wrong {
		wrong[i] = `{"message":"x"}`
	}
	wrong[0], wrong[2], wrong[3], wrong[9] = `{"message":1}`, `null`, `{"message":"","delay":-1}`, `{}`
	wrong[10], wrong[12] = `{"message":"x","max_attempts":0,"priority":10}`, `{"message":"x","Queue":"a"}`
	wantPlaces(batch(wrong...),
		"/tasks/0/message must be a string, not a number",
		"/tasks/2 must be an object, not null",
		"/tasks/3/delay must be from 0 to 315360000 seconds",
		"/tasks/3/message must not be empty",
		"/tasks/9/message is required",
		"/tasks/10/max_attempts must be from 1 to 1000, not 0",
		"/tasks/10/priority must be from 0 to 9, not 10",
		"/tasks/12/Queue unknown field")
	wantPlaces(batch(`{"message":"`+strings.Repeat("x", messageBytes+1)+`"}`), "/tasks/0/message must be at most 4000 bytes long, not 4001")
	wantPlaces(batch(append(items, `1`)...), "/tasks must be 1 to 1000 tasks, not 1001")
	wantPlaces(batch(), "/tasks must be 1 to 1000 tasks, not 0")
	wantPlaces(`{}`, "/tasks is required")
	wantPlaces(`{"tasks":null}`, "/tasks must be an array, not null")
	wantPlaces(`{"tasks":{"message":"x"}}`, "/tasks must be an array, not an object")
	wantPlaces(`{"tasks":[],"queue":"mail"}`, "/queue unknown field")
	for _, body := range []string{`{"tasks":[{"message":"x"}`, `{"tasks":[{"message":"x","message":"y"}]}`, `{"tasks":[],"tasks":[]}`} {
		wantProblem(t, s.call(http.MethodPost, "/tasks/batch", body), http.StatusBadRequest, "malformed", "not valid JSON")
	}
	if n := len(s.follow("?queue=default&text=x")); n != 0 {
		t.Errorf("%d tasks of a refused batch were stored", n)
	}
}

// A problem with all items of a batch names them all, and says so in few words.
func TestBatch_SummarisesManyFaults(t *testing.T) {
	s := newService(t)
	a := s.call(http.MethodPost, "/tasks/batch", `{"tasks":[`+strings.Repeat(`{"message":""},`, 999)+`{"message":""}]}`)
	p := a.problem(t)
	if len(p.Errors) != 1000 || *p.Errors[999].Pointer != "/tasks/999/message" || !strings.HasSuffix(p.Detail, "; and 990 more") {
		t.Errorf("%d errors, %s", len(p.Errors), p.Detail)
	}
}

func TestBatch_HasLimitsOfItsOwn(t *testing.T) {
	s := newService(t, func(cfg *httpapi.Config) { cfg.BatchBytes, cfg.Batches, cfg.ReadTimeout = 1<<20, 1, time.Minute })
	body := `{"tasks":[{"message":"` + strings.Repeat("x", messageBytes) + `"}` + strings.Repeat(`,{"message":"`+strings.Repeat("x", messageBytes)+`"}`, 200) + `]}`
	if a := s.call(http.MethodPost, "/tasks/batch", body); a.status != http.StatusCreated {
		t.Errorf("a batch that is larger than other requests may be: %d %s", a.status, a.body)
	}
	a := s.call(http.MethodPost, "/tasks/batch", body+strings.Repeat(" ", 1<<20))
	wantProblem(t, a, http.StatusRequestEntityTooLarge, "too_large", "at most 1048576 bytes")

	inside, end := make(chan struct{}), make(chan struct{})
	s.store.set(func(context.Context) error { close(inside); <-end; return nil })
	first := make(chan int)
	go func() {
		w := httptest.NewRecorder()
		s.server.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "http://localhost/tasks/batch", strings.NewReader(body)))
		first <- w.Code
	}()
	<-inside
	s.store.set(nil)
	a = s.call(http.MethodPost, "/tasks/batch", body)
	wantProblem(t, a, http.StatusServiceUnavailable, "overloaded", "too many batches")
	if a := s.call(http.MethodPost, "/tasks", `{"message":"x"}`); a.status != http.StatusCreated {
		t.Errorf("a task meanwhile: %d %s", a.status, a.body)
	}
	close(end)
	if got := <-first; got != http.StatusCreated {
		t.Errorf("the first batch: %d", got)
	}
}

// A batch that uploads slowly cannot keep others out for long.
func TestBatch_ASlowUploadIsEvicted(t *testing.T) {
	s := newService(t, func(cfg *httpapi.Config) { cfg.Batches, cfg.ReadTimeout = 1, time.Minute })
	conn := dial(t, runAndStop(t, s.server))
	_, _ = io.WriteString(conn, "POST /tasks/batch HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\nExpect: 100-continue\r\n\r\n")
	if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.Contains(line, " 100 ") { // it has the place
		t.Fatalf("%q, %v", line, err)
	}
	cut := make(chan string, 1)
	go func() {
		cut <- sendSlowly(conn, "", " ")
	}()
	for deadline := time.After(time.Minute); ; {
		a := s.call(http.MethodPost, "/tasks/batch", `{"tasks":[{"message":"x"}]}`)
		select {
		case said := <-cut: // by this batch, or one before it
			if !strings.Contains(said, " 408 ") {
				t.Errorf("it was cut off with %q", said)
			}
			if a := s.call(http.MethodPost, "/tasks/batch", `{"tasks":[{"message":"x"}]}`); a.status != http.StatusCreated {
				t.Errorf("then another batch: %d %s", a.status, a.body)
			}
			return
		case <-deadline:
			t.Fatalf("others still get %d %s", a.status, a.body)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
