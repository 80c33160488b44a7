package httpapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/domain"
)

func TestBulk_ShowsItsFilterAndItsProgress(t *testing.T) {
	for name, open := range map[string]func(*testing.T) stores{"SQLite": openStores, "PostgreSQL": openServers} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServiceOn(t, open(t))
			for _, c := range []struct{ filter, shown string }{
				{`{}`, `{}`},
				{`{"status":["pending","failed","pending"],"queue":["b","a"]}`, `{"status":["failed","pending"],"queue":["a","b"]}`},
				{`{"created_from":"2026-01-15T01:00:00+01:00","created_before":"2026-01-16T00:00:00.5Z","finished_from":"2026-01-15T00:00:00Z","finished_before":"2026-01-16T00:00:00Z"}`,
					`{"created_from":"2026-01-15T00:00:00.000000Z","created_before":"2026-01-16T00:00:00.500000Z","finished_from":"2026-01-15T00:00:00.000000Z","finished_before":"2026-01-16T00:00:00.000000Z"}`},
				{`{"metadata":{"a":"é\u0001","b":""},"text":"%\\'"}`, `{"metadata":{"a":"é\u0001","b":""},"text":"%\\'"}`},
			} {
				begun := s.call(http.MethodPost, "/tasks/bulk", `{"action":"cancel","filter":`+c.filter+map[bool]string{true: `,"all":true`}[c.filter == `{}`]+`}`)
				if begun.status != http.StatusAccepted || !strings.Contains(begun.body, `"filter":`+c.shown+`,"status":"running","changed":0,"skipped":0,`) {
					t.Errorf("%s: %d %s", c.filter, begun.status, begun.body)
				}
				if now := s.call(http.MethodGet, begun.header.Get("Location"), ""); now.body != begun.body {
					t.Errorf("GET answers %s, POST %s", now.body, begun.body)
				}
			}
			s.doBulks()

			cancelable, done := s.add(pending), s.add(completed(""))
			id := s.bulk(`{"action":"cancel","filter":{"queue":["default"]}}`)
			late := s.add(pending) // after the request: not meant
			s.doBulks()
			b := s.call(http.MethodGet, "/bulk/"+id, "").fields(t)
			if b["status"] != "done" || b["changed"] != 1.0 || b["skipped"] != 1.0 || b["done_at"] != b["updated_at"] || b["done_at"] == nil {
				t.Errorf("%v", b)
			}
			for id, want := range map[string]string{cancelable: "canceled", done: "completed", late: "pending"} {
				if got := s.call(http.MethodGet, "/tasks/"+id, "").fields(t)["status"]; got != want {
					t.Errorf("a task is %s, want %s", got, want)
				}
			}
		})
	}
}

func TestBulk_ADryRunOnlyCounts(t *testing.T) {
	s := newService(t)
	s.add(pending)
	s.add(completed(""))
	for filter, want := range map[string]float64{`{},"all":true`: 2, `{"status":["pending"]}`: 1, `{"text":"nothing"}`: 0} {
		a := s.call(http.MethodPost, "/tasks/bulk", `{"action":"stop","filter":`+filter+`,"dry_run":true}`)
		if diff := cmp.Diff(map[string]any{"matched": want, "exact": true}, a.fields(t)); a.status != http.StatusOK || diff != "" {
			t.Errorf("%s: %d %s", filter, a.status, diff)
		}
	}
	s.doBulks()
	if n := len(s.follow("?status=canceled")); n != 0 {
		t.Errorf("%d tasks were canceled", n)
	}
}

func TestBulk_NamesWhatIsWrong(t *testing.T) {
	s := newService(t)
	names := strings.TrimSuffix(strings.Repeat(`"q",`, 100), ",")
	for i := range 101 {
		names += fmt.Sprintf(`,"q%d"`, i)
	}
	for body, detail := range map[string]string{
		`{}`:                              "action: is required; filter: is required",
		`{"action":"cancel","filter":{}}`: "filter: is empty, which means all tasks; if that is meant, set all to true",
		`{"action":"cancel","filter":{},"all":false}`:                "filter: is empty",
		`{"action":"cancel","filter":{},"dry_run":true}`:             "filter: is empty",
		`{"action":"cancel","filter":{},"all":null}`:                 "all: must be true or false, not null",
		`{"action":"cancel","all":true}`:                             "filter: is required",
		`{"action":"cancel","filter":{"queue":["a"]},"all":true}`:    "all: cannot be combined with a filter that is not empty",
		`{"action":"cancel"}`:                                        "filter: is required",
		`{"filter":{}}`:                                              "action: is required",
		`{"action":"cancel","filter":null}`:                          "filter: must be an object, not null",
		`{"action":"cancel","filter":[]}`:                            "filter: must be an object, not an array",
		`{"action":"delete","filter":{"text":"x"}}`:                  `action: unknown action "delete"`,
		`{"action":"","filter":{"text":"x"}}`:                        `action: unknown action ""`,
		`{"action":null,"filter":{}}`:                                "action: must be a string, not null",
		`{"action":"cancel","filter":{},"dry_run":1}`:                "dry_run: must be true or false, not a number",
		`{"action":"cancel","filter":{},"dryrun":true}`:              "dryrun: unknown field",
		`{"action":"cancel","filter":{"state":["failed"]}}`:          "filter/state: unknown field",
		`{"action":"cancel","filter":{"status":"failed"}}`:           "filter/status: must be an array, not a string",
		`{"action":"cancel","filter":{"status":[]}}`:                 "filter/status: must not be empty",
		`{"action":"cancel","filter":{"status":["pending","done"]}}`: `filter/status/1: unknown status "done"`,
		`{"action":"cancel","filter":{"status":[null]}}`:             "filter/status/0: must be a string, not null",
		`{"action":"cancel","filter":{"queue":[]}}`:                  "filter/queue: must not be empty",
		`{"action":"cancel","filter":{"queue":["a","B"]}}`:           `filter/queue/1: invalid queue name "B"`,
		`{"action":"cancel","filter":{"queue":[` + names + `]}}`:     "filter/queue: must be at most 100 queues, not 102",
		`{"action":"cancel","filter":{"metadata":{}}}`:               "filter/metadata: must not be empty",
		`{"action":"cancel","filter":{"metadata":{"a":1}}}`:          "filter/metadata/a: must be a string, not a number",
		`{"action":"cancel","filter":{"metadata":{"a b":""}}}`:       `filter/metadata/a b: invalid key "a b"`,
		`{"action":"cancel","filter":{"text":""}}`:                   "filter/text: must not be empty",
		`{"action":"cancel","filter":{"text":"\u0000"}}`:             "filter/text: must be valid UTF-8 without the NUL",
		`{"action":"cancel","filter":{"created_from":"x"}}`:          "filter/created_from: must be a time as in RFC 3339",
		`{"action":"cancel","filter":{"created_from":null}}`:         "filter/created_from: must be a time as in RFC 3339, not null",
		`{"action":"cancel","filter":{"created_before":"0001-01-01T00:00:00Z","finished_before":"0001-01-01T00:00:00Z"}}`: "filter/created_before: must not be 0001-01-01T00:00:00Z, which stands for no time; filter/finished_before: ",
		`{"action":"x","filter":{"status":[],"text":"\u0000"}}`:                                                           `action: unknown action "x"; want one of cancel, stop, retry; filter/status: must not be empty; omit the field instead; filter/text: `,
	} {
		wantProblem(t, s.call(http.MethodPost, "/tasks/bulk", body), http.StatusUnprocessableEntity, "invalid", detail)
	}
	wantProblem(t, s.call(http.MethodGet, "/bulk/"+domain.NewTaskID(time.Now()).String(), ""), http.StatusNotFound, "not_found", "bulk action not found")
	wantProblem(t, s.call(http.MethodGet, "/bulk/42", ""), http.StatusBadRequest, "malformed", "is not a UUID")
}

func TestBulk_IsListedCanceledAndStartedOnce(t *testing.T) {
	for name, open := range map[string]func(*testing.T) stores{"SQLite": openStores, "PostgreSQL": openServers} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServiceOn(t, open(t))
			waiting := s.add(pending)
			const body = `{"action":"cancel","filter":{"queue":["default"]}}`
			first := s.call(http.MethodPost, "/tasks/bulk", body, "Idempotency-Key: k")
			again := s.call(http.MethodPost, "/tasks/bulk", body, "Idempotency-Key: k")
			if first.status != http.StatusAccepted || again.status != http.StatusAccepted || again.body != first.body ||
				again.header.Get("Location") != first.header.Get("Location") || again.header.Get("Idempotency-Replayed") != "true" || first.header.Get("Idempotency-Replayed") != "" {
				t.Errorf("first %d %s, again %d %s", first.status, first.body, again.status, again.body)
			}
			for path, other := range map[string]string{"/tasks/bulk": `{"action":"stop","filter":{"queue":["default"]}}`, "/tasks": `{"message":"x"}`} {
				wantProblem(t, s.call(http.MethodPost, path, other, "Idempotency-Key: k"), http.StatusUnprocessableEntity, "idempotency_key_reused", "")
			}
			wantProblem(t, s.call(http.MethodPost, "/tasks/bulk", `{"action":"cancel","filter":{"text":"x"},"dry_run":true}`, "Idempotency-Key: n"),
				http.StatusUnprocessableEntity, "invalid", "Idempotency-Key: cannot be combined with dry_run")
			wantProblem(t, s.call(http.MethodPost, "/tasks/bulk", body, "Idempotency-Key: a b"), http.StatusUnprocessableEntity, "invalid", "Idempotency-Key")

			second := s.bulk(`{"action":"retry","filter":{"text":"x"}}`)
			var ids []string
			for next := "/bulk?limit=1"; next != ""; {
				a := s.call(http.MethodGet, next, "")
				for _, b := range a.fields(t)["bulks"].([]any) {
					ids = append(ids, b.(map[string]any)["id"].(string))
				}
				next, _, _ = strings.Cut(strings.TrimPrefix(a.header.Get("Link"), "<"), ">")
			}
			firstID, _ := first.fields(t)["id"].(string)
			if diff := cmp.Diff([]string{second, firstID}, ids); diff != "" {
				t.Error(diff)
			}

			for range 2 {
				a := s.call(http.MethodPatch, "/bulk/"+firstID, `{"status":"canceled"}`)
				if a.status != http.StatusOK || a.fields(t)["status"] != "canceled" || a.fields(t)["done_at"] == nil {
					t.Errorf("cancel: %d %s", a.status, a.body)
				}
			}
			s.doBulks()
			if got := s.call(http.MethodGet, "/tasks/"+waiting, "").fields(t)["status"]; got != "pending" {
				t.Errorf("a task is %s after the action was canceled", got)
			}
			wantProblem(t, s.call(http.MethodPatch, "/bulk/"+second, `{"status":"canceled"}`), http.StatusConflict, "conflict", "is done cannot become canceled")
			for body, detail := range map[string]string{`{}`: "status: is required", `{"status":"done"}`: `status: can be set to canceled, not to "done"`, `{"status":1}`: "status: must be a string", `{"x":1}`: "x: unknown field"} {
				wantProblem(t, s.call(http.MethodPatch, "/bulk/"+second, body), http.StatusUnprocessableEntity, "invalid", detail)
			}
			wantProblem(t, s.call(http.MethodPatch, "/bulk/"+domain.NewTaskID(time.Now()).String(), `{"status":"canceled"}`), http.StatusNotFound, "not_found", "bulk action not found")
			for query, detail := range map[string]string{"limit=0": "limit: must be from 1 to 100", "limit=101": "limit: must be from 1 to 100", "cursor=x": "cursor: is not a cursor", "limit=x": "limit: must be a whole number"} {
				wantProblem(t, s.call(http.MethodGet, "/bulk?"+query, ""), http.StatusUnprocessableEntity, "invalid", detail)
			}
		})
	}
}
