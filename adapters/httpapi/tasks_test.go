package httpapi_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/millrace/millrace/domain"
)

func TestSubmit_AnswersWithTheStoredTask(t *testing.T) {
	s := newService(t)
	a := s.call(http.MethodPost, "/tasks", `{"message":"Hello World"}`)
	task := a.fields(t)
	id, _ := task["id"].(string)
	if a.status != http.StatusCreated || a.header.Get("Location") != "/tasks/"+id || a.header.Get("ETag") != `"1"` {
		t.Fatalf("%d %v", a.status, a.header)
	}
	if got := a.header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type %q", got)
	}
	for _, name := range []string{"created_at", "updated_at", "run_at"} {
		if at, _ := task[name].(string); !regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$`).MatchString(at) {
			t.Errorf("%s is %q", name, at)
		}
		delete(task, name)
	}
	want := map[string]any{"id": id, "message": "Hello World", "status": "pending", "attempt": 0.0, "failures": 0.0, "max_attempts": 5.0, "queue": "default", "priority": 0.0}
	if diff := cmp.Diff(want, task); diff != "" {
		t.Error(diff)
	}
	if again := s.call(http.MethodGet, "/tasks/"+id, ""); again.body != a.body || again.header.Get("ETag") != `"1"` {
		t.Errorf("GET answers %s, POST %s", again.body, a.body)
	}
}

func TestSubmit_KeepsEveryMessageToTheByte(t *testing.T) {
	s := newService(t)
	check := func(t interface {
		Fatalf(string, ...any)
	}, body, message string) {
		a := s.call(http.MethodPost, "/tasks", body)
		var task struct{ ID, Message string }
		if err := json.Unmarshal([]byte(a.body), &task); err != nil || a.status != http.StatusCreated || task.Message != message {
			t.Fatalf("%q came back as %d %q, %v", message, a.status, task.Message, err)
		}
		a = s.call(http.MethodGet, "/tasks/"+task.ID, "")
		if err := json.Unmarshal([]byte(a.body), &task); err != nil || task.Message != message {
			t.Fatalf("%q was kept as %q", message, task.Message)
		}
	}
	check(t, `{"message":"<a href=\"\u0026\">\u2028\u2029\ud83d\ude00\\u0041\/\b\u0001"}`, "<a href=\"&\">\u2028\u2029😀\\u0041/\b\x01")
	longest := strings.Repeat("\x01", messageBytes)
	check(t, `{"message":"`+strings.Repeat(`\u0001`, messageBytes)+`"}`, longest)
	rapid.Check(t, func(rt *rapid.T) {
		runes := rapid.SliceOfN(rapid.Rune().Filter(func(r rune) bool { return r != 0 }), 1, 60).Draw(rt, "message")
		message := strings.ToValidUTF8(string(runes), "?")
		body, err := json.Marshal(map[string]string{"message": message})
		if err != nil {
			rt.Fatal(err)
		}
		check(rt, string(body), message)
	})
}

func TestChange_CancelsAndReopens(t *testing.T) {
	s := newService(t)
	id := s.submit("x")
	first := s.call(http.MethodPatch, "/tasks/"+id, `{"status":"canceled"}`)
	if first.status != http.StatusOK || first.fields(t)["status"] != "canceled" || first.header.Get("ETag") != `"2"` {
		t.Fatalf("%d %s", first.status, first.body)
	}
	again := s.call(http.MethodPatch, "/tasks/"+id, `{"status":"canceled"}`, "Content-Type: application/merge-patch+json")
	if again.status != http.StatusOK || again.body != first.body {
		t.Errorf("a repeated cancel answers %d %s", again.status, again.body)
	}
	refused := s.call(http.MethodPatch, "/tasks/"+id, `{"status":"pending"}`)
	wantProblem(t, refused, http.StatusConflict, "conflict", "a canceled task cannot become pending")

	failed := s.failedTask()
	wantProblem(t, s.call(http.MethodPatch, "/tasks/"+failed, `{"status":"canceled"}`),
		http.StatusConflict, "conflict", "a failed task cannot become canceled")
	if a := s.call(http.MethodGet, "/tasks/"+failed, ""); a.fields(t)["last_error"] != "no luck" || a.fields(t)["failures"] != 1.0 {
		t.Errorf("the failed task is %s", a.body)
	}
	if a := s.call(http.MethodPatch, "/tasks/"+failed, `{"status":"pending"}`); a.status != http.StatusOK || a.fields(t)["status"] != "pending" {
		t.Errorf("reopen answers %d %s", a.status, a.body)
	}
}

// failedTask stores a task whose attempts are spent.
func (s *service) failedTask() string {
	s.t.Helper()
	now := s.clock.Now()
	task, err := domain.NewTask(domain.TaskSpec{Message: "x", MaxAttempts: new(1)}, now)
	if err == nil {
		err = task.Claim(domain.Claim{Worker: "w", Timeout: 1}, now)
	}
	if err == nil {
		err = task.Fail(1, domain.Failure{Reason: "no luck"}, domain.RetryPolicy{}, 0, now)
	}
	if err == nil {
		err = s.store.Add(context.Background(), task)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return task.ID().String()
}

func TestGet_AnswersNotModified(t *testing.T) {
	s := newService(t)
	id := s.submit("x")
	for header, want := range map[string]int{
		`If-None-Match: "1"`:               304,
		`If-None-Match: W/"1"`:             304,
		`If-None-Match: "7", W/"9" ,  "1"`: 304,
		`If-None-Match: "a,b", "1"`:        304,
		`If-None-Match: *`:                 304,
		`If-None-Match: "2"`:               200,
		`If-None-Match: 1`:                 200,
		`If-None-Match: "1`:                200,
		`If-None-Match: w/"1"`:             200,
		`If-None-Match: "x" garbage, "1"`:  200,
		`If-None-Match: "2", "%zz", "11"`:  200,
	} {
		a := s.call(http.MethodGet, "/tasks/"+id, "", header)
		if a.status != want || a.header.Get("ETag") != `"1"` || want == 304 && a.body != "" {
			t.Errorf("%s: %d %v %q", header, a.status, a.header, a.body)
		}
	}
	if a := s.call(http.MethodGet, "/tasks/"+id, "", `If-None-Match: "5"`, `If-None-Match: "1"`); a.status != 304 {
		t.Errorf("two header lines: %d %s", a.status, a.body)
	}
	s.call(http.MethodPatch, "/tasks/"+id, `{"status":"canceled"}`)
	if a := s.call(http.MethodGet, "/tasks/"+id, "", `If-None-Match: "1"`); a.status != 200 || a.header.Get("ETag") != `"2"` {
		t.Errorf("after a change: %d", a.status)
	}
}

func TestList_PagesNewestFirst(t *testing.T) {
	s := newService(t)
	var want []string
	for i := range 7 {
		id := s.submit("x")
		if i%2 == 0 {
			s.call(http.MethodPatch, "/tasks/"+id, `{"status":"canceled"}`)
		}
		want = append([]string{id}, want...)
	}
	for query, expected := range map[string][]string{
		"":                                 want,
		"?status=&limit=&cursor=":          want,
		"?limit=3":                         want,
		"?limit=7":                         want,
		"?status=canceled&limit=2":         {want[0], want[2], want[4], want[6]},
		"?status=pending,canceled&limit=2": want,
		"?status=canceled&status=pending&status=pending&limit=4": want,
		"?status=failed": {},
	} {
		if diff := cmp.Diff(expected, s.follow(query)); diff != "" {
			t.Errorf("%q: %s", query, diff)
		}
	}
}

// follow reads all pages by their Link headers.
func (s *service) follow(query string) []string {
	s.t.Helper()
	ids := []string{}
	for next := "/tasks" + query; next != ""; {
		a := s.call(http.MethodGet, next, "")
		var page struct {
			Tasks      []struct{ ID string }
			NextCursor string `json:"next_cursor"`
		}
		if err := json.Unmarshal([]byte(a.body), &page); err != nil || a.status != http.StatusOK {
			s.t.Fatalf("%s: %d %s", next, a.status, a.body)
		}
		for _, t := range page.Tasks {
			ids = append(ids, t.ID)
		}
		link := a.header.Get("Link")
		if link == "" && page.NextCursor == "" {
			break
		}
		target, ok := strings.CutSuffix(strings.TrimPrefix(link, "<"), `>; rel="next"`)
		u, err := url.Parse(target)
		if !ok || err != nil || u.Query().Get("cursor") != page.NextCursor || len(ids) > 100 {
			s.t.Fatalf("Link %q, next_cursor %q", link, page.NextCursor)
		}
		next = target
	}
	return ids
}

func TestList_RefusesACursorWithOtherFilters(t *testing.T) {
	s := newService(t)
	s.submit("x")
	s.submit("y")
	cursor, _ := s.call(http.MethodGet, "/tasks?status=pending&limit=1", "").fields(t)["next_cursor"].(string)
	for path, detail := range map[string]string{
		"/tasks?cursor=" + cursor:                          "cursor: belongs to a list with different filters",
		"/tasks?status=failed&cursor=" + cursor:            "cursor: belongs to a list with different filters",
		"/tasks?status=pending&cursor=" + cursor[1:]:       "cursor: is not a cursor of this service",
		"/tasks?status=pending&cursor=%0A" + cursor:        "cursor: is not a cursor of this service",
		"/tasks?status=pending&cursor=" + "B" + cursor[1:]: "cursor: is not a cursor of this service",
		"/tasks?status=pending&cursor=*" + cursor[1:]:      "cursor: is not a cursor of this service",
	} {
		a := s.call(http.MethodGet, path, "")
		wantProblem(t, a, http.StatusUnprocessableEntity, "invalid", detail)
		if errs := a.problem(t).Errors; len(errs) != 1 || errs[0].Pointer != nil || errs[0].Parameter == nil || *errs[0].Parameter != "cursor" {
			t.Errorf("%s", a.body)
		}
	}
}
