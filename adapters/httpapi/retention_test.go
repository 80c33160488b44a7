package httpapi_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// wantExpiry checks how long after its end the answer says that a task expires; 0: never.
func wantExpiry(t *testing.T, a answer, keep time.Duration) {
	t.Helper()
	task := a.fields(t)
	at, expires := task["expires_at"]
	if keep == 0 {
		if expires {
			t.Errorf("expires at %v: %s", at, a.body)
		}
		return
	}
	text, _ := task["finished_at"].(string)
	finished, err := time.Parse(time.RFC3339, text)
	if want := finished.Add(keep).Format("2006-01-02T15:04:05.000000Z"); err != nil || at != want {
		t.Errorf("expires at %v, want %s: %s", at, want, a.body)
	}
}

func TestTask_SaysWhenItExpires(t *testing.T) {
	s := newService(t)
	get := func(id string) answer { return s.call(http.MethodGet, "/tasks/"+id, "") }
	s.call(http.MethodPatch, "/queues/default", `{"retention":{"failed":"1d12h","canceled":"never"}}`)
	wantExpiry(t, get(s.add(pending)), 0)
	wantExpiry(t, get(s.add(running)), 0)
	wantExpiry(t, get(s.add(completed("done"))), 7*24*time.Hour)
	wantExpiry(t, get(s.add(failed)), 36*time.Hour)

	made := s.call(http.MethodPost, "/tasks", `{"message":"x","retention":90.5}`)
	wantExpiry(t, made, 0)
	canceled := s.call(http.MethodPatch, "/tasks/"+made.fields(t)["id"].(string), `{"status":"canceled"}`)
	wantExpiry(t, canceled, 90500*time.Millisecond)
	if got := canceled.fields(t)["retention"]; got != 90.5 {
		t.Errorf("its own retention is %v", got)
	}
	never := s.call(http.MethodPost, "/tasks", `{"message":"x"}`)
	wantExpiry(t, s.call(http.MethodPatch, "/tasks/"+never.fields(t)["id"].(string), `{"status":"canceled"}`), 0)
	for _, task := range s.call(http.MethodGet, "/tasks?status=completed", "").fields(t)["tasks"].([]any) {
		if task.(map[string]any)["expires_at"] == nil {
			t.Errorf("a list does not say it: %v", task)
		}
	}
}

func TestTask_IsNotSaidToExpireWhileItsKeyIsRemembered(t *testing.T) {
	s := newService(t)
	const body, key = `{"message":"x","retention":1}`, "Idempotency-Key: k"
	made := s.call(http.MethodPost, "/tasks", body, key)
	s.call(http.MethodPatch, "/tasks/"+made.fields(t)["id"].(string), `{"status":"canceled"}`)
	repeated := s.call(http.MethodPost, "/tasks", body, key).fields(t)
	created, err := time.Parse(time.RFC3339, repeated["created_at"].(string))
	if want := created.Add(time.Hour).Format("2006-01-02T15:04:05.000000Z"); err != nil || repeated["expires_at"] != want {
		t.Errorf("expires at %v, want when its key does, at %s", repeated["expires_at"], want)
	}
	wantProblem(t, s.call(http.MethodPost, "/tasks", `{"message":"x","retention":2}`, key), http.StatusUnprocessableEntity, "idempotency_key_reused", "")
	wantProblem(t, s.call(http.MethodPost, "/tasks", `{"message":"x"}`, key), http.StatusUnprocessableEntity, "idempotency_key_reused", "")
}

func TestTask_RefusesARetentionOutOfRange(t *testing.T) {
	s := newService(t)
	for body, detail := range map[string]string{
		`{"message":"x","retention":0}`:           "retention: must be from 1 to 315360000 seconds",
		`{"message":"x","retention":-1}`:          "retention: must be from 1 to 315360000 seconds",
		`{"message":"x","retention":0.999}`:       "retention: must be from 1 to 315360000 seconds",
		`{"message":"x","retention":315360000.1}`: "retention: must be from 1 to 315360000 seconds",
		`{"message":"x","retention":1e300}`:       "retention: must be from 1 to 315360000 seconds",
		`{"message":"x","retention":"7d"}`:        "retention: must be a number, not a string",
		`{"message":"x","retention":null}`:        "retention: must be a number, not null",
	} {
		wantProblem(t, s.call(http.MethodPost, "/tasks", body), http.StatusUnprocessableEntity, "invalid", detail)
	}
	wantProblem(t, s.call(http.MethodPost, "/tasks/batch", `{"tasks":[{"message":"x"},{"message":"x","retention":0}]}`),
		http.StatusUnprocessableEntity, "invalid", "tasks/1/retention: must be from 1 to 315360000 seconds")
}

func TestQueue_KeepsItsTasksAsAMergePatchSays(t *testing.T) {
	for name, open := range map[string]func(*testing.T) stores{"SQLite": openStores, "PostgreSQL": openServers} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServiceOn(t, open(t))
			for _, step := range []struct {
				change string
				want   any
			}{
				{`{"paused":true}`, nil},
				{`{"retention":{}}`, nil},
				{`{"retention":{"completed":"36h","failed":"never"}}`, map[string]any{"completed": "1d12h", "failed": "never"}},
				{`{"paused":false}`, map[string]any{"completed": "1d12h", "failed": "never"}},
				{`{"retention":{"canceled":"1s","completed":null}}`, map[string]any{"canceled": "1s", "failed": "never"}},
				{`{"retention":{"failed":"3650d"}}`, map[string]any{"canceled": "1s", "failed": "3650d"}},
				{`{"retention":null}`, nil},
			} {
				a := s.call(http.MethodPatch, "/queues/mail", step.change, "Content-Type: application/merge-patch+json")
				if diff := cmp.Diff(step.want, a.fields(t)["retention"]); a.status != http.StatusOK || diff != "" {
					t.Errorf("%s: %d %s", step.change, a.status, diff)
				}
				if get := s.call(http.MethodGet, "/queues/mail", ""); get.body != a.body {
					t.Errorf("%s: GET answers %s, PATCH %s", step.change, get.body, a.body)
				}
			}
		})
	}
}

func TestQueue_NamesWhatIsWrongWithARetention(t *testing.T) {
	s := newService(t)
	for change, detail := range map[string]string{
		`{"retention":{"failed":"7"}}`:                      `retention/failed: invalid length of time "7"; want days, hours, minutes and seconds`,
		`{"retention":{"failed":"0s"}}`:                     `retention/failed: invalid length of time "0s"`,
		`{"retention":{"failed":"1.5h"}}`:                   `retention/failed: invalid length of time "1.5h"`,
		`{"retention":{"failed":"3651d"}}`:                  `retention/failed: invalid length of time "3651d"`,
		`{"retention":{"failed":"","completed":"x"}}`:       `retention/completed: invalid length of time "x"`,
		`{"retention":{"pending":"7d"}}`:                    "retention/pending: unknown field",
		`{"retention":{"failed":7}}`:                        "retention/failed: must be a string, not a number",
		`{"retention":"7d"}`:                                "retention: must be an object, not a string",
		`{"retention":{"failed":"7d"},"max_running":0}`:     "max_running: must be from 1",
		`{"retention":{"failed":"no"},"max_running":0}`:     `; retention/failed: invalid length of time "no"`,
		`{"retention":{"failed":"7d","failed":"8d"}}`:       "",
		`{"retention":{"failed":"999999999999999999999d"}}`: `invalid length of time "999999999999999999999d"`,
	} {
		status, code := http.StatusUnprocessableEntity, "invalid"
		if detail == "" {
			status, code = http.StatusBadRequest, "malformed"
		}
		wantProblem(t, s.call(http.MethodPatch, "/queues/mail", change), status, code, detail)
	}
}
