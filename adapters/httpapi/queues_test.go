package httpapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/oapi-codegen/nullable"

	"github.com/millrace/millrace/client"
)

func TestQueue_IsChangedAsAMergePatchSays(t *testing.T) {
	for name, open := range map[string]func(*testing.T) stores{"SQLite": openStores, "PostgreSQL": openServers} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServiceOn(t, open(t))
			for _, step := range []struct {
				change                          string
				paused, maxRunning, rate, burst any
			}{
				{`{}`, false, nil, nil, nil},
				{`{"paused":true}`, true, nil, nil, nil},
				{`{"max_running":3}`, true, 3.0, nil, nil},
				{`{"rate":"120/m"}`, true, 3.0, "120/m", 2.0},
				{`{"paused":false}`, false, 3.0, "120/m", 2.0},
				{`{}`, false, 3.0, "120/m", 2.0},
				{`{"max_running":null}`, false, nil, "120/m", 2.0},
				{`{"max_running":1000000,"rate":null}`, false, 1000000.0, nil, nil},
				{`{"rate":"5/h"}`, false, 1000000.0, "5/h", 1.0},
				{`{"rate":"1000000/s","max_running":1,"paused":true}`, true, 1.0, "1000000/s", 1000000.0},
				{`{"rate":null,"max_running":null,"paused":false}`, false, nil, nil, nil},
			} {
				a := s.call(http.MethodPatch, "/queues/a.b", step.change, "Content-Type: application/merge-patch+json")
				want := map[string]any{
					"name": "a.b", "paused": step.paused, "max_running": step.maxRunning, "rate": step.rate, "burst": step.burst,
					"pending": 0.0, "scheduled": 0.0, "processing": 0.0, "oldest_waiting": nil, "workers": 0.0,
				}
				if diff := cmp.Diff(want, a.fields(t)); a.status != http.StatusOK || diff != "" {
					t.Errorf("%s: %d %s", step.change, a.status, diff)
				}
				if get := s.call(http.MethodGet, "/queues/a.b", ""); get.body != a.body {
					t.Errorf("%s: GET answers %s, PATCH %s", step.change, get.body, a.body)
				}
			}
		})
	}
}

func TestQueue_TellsWhatWaits(t *testing.T) {
	s := newService(t)
	oldest := s.call(http.MethodPost, "/tasks", `{"message":"x"}`).fields(t)["created_at"]
	s.add(pending)
	s.add(running)
	s.add(completed(""))
	s.call(http.MethodPost, "/tasks", `{"message":"x","delay":60}`)
	s.call(http.MethodPost, "/tasks", `{"message":"x","queue":"mail","delay":60}`)
	s.call(http.MethodPatch, "/queues/b", `{"paused":true}`)
	var got []any
	for _, q := range s.call(http.MethodGet, "/queues", "").fields(t)["queues"].([]any) {
		q := q.(map[string]any)
		got = append(got, []any{q["name"], q["pending"], q["scheduled"], q["processing"], q["oldest_waiting"], q["paused"]})
	}
	want := []any{
		[]any{"b", 0.0, 0.0, 0.0, nil, true},
		[]any{"default", 2.0, 1.0, 1.0, oldest, false},
		[]any{"mail", 0.0, 1.0, 0.0, nil, false},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	wantProblem(t, s.call(http.MethodGet, "/queues/unheard-of", ""), http.StatusNotFound, "not_found", "queue not found")
}

func TestQueue_NamesWhatIsWrong(t *testing.T) {
	s := newService(t)
	for change, detail := range map[string]string{
		`{"max_running":0}`:                          "max_running: must be from 1 to 1000000, or null for no limit",
		`{"max_running":-1}`:                         "max_running: must be from 1 to 1000000, or null for no limit",
		`{"max_running":1000001}`:                    "max_running: must be from 1 to 1000000, or null for no limit",
		`{"max_running":1.5}`:                        "max_running: must be a whole number, not 1.5",
		`{"max_running":"1"}`:                        "max_running: must be a whole number, not a string",
		`{"max_running":99999999999999999999}`:       "max_running: is too large a number",
		`{"rate":""}`:                                `rate: invalid rate ""`,
		`{"rate":"0/s"}`:                             `rate: invalid rate "0/s"`,
		`{"rate":"1000001/s"}`:                       "invalid rate",
		`{"rate":"1/d"}`:                             "invalid rate",
		`{"rate":"+1/s"}`:                            "invalid rate",
		`{"rate":1}`:                                 "rate: must be a string, not a number",
		`{"paused":null}`:                            "paused: must be true or false, not null",
		`{"paused":"true"}`:                          "paused: must be true or false, not a string",
		`{"pause":true}`:                             "pause: unknown field",
		`{"max_running":0,"rate":"1","paused":true}`: `max_running: must be from 1 to 1000000, or null for no limit; rate: invalid rate "1"`,
		`[]`: "the body must be an object, not an array",
	} {
		wantProblem(t, s.call(http.MethodPatch, "/queues/mail", change), http.StatusUnprocessableEntity, "invalid", detail)
	}
	wantProblem(t, s.call(http.MethodGet, "/queues/mail", ""), http.StatusNotFound, "not_found", "queue not found")
	for _, name := range []string{"Mail", "-a", "a%2Fb", "%00", "%FF", "a%20b", "a,b"} {
		for _, method := range []string{http.MethodGet, http.MethodPatch} {
			a := s.call(method, "/queues/"+name, map[string]string{http.MethodPatch: "{}"}[method])
			wantProblem(t, a, http.StatusBadRequest, "malformed", "invalid queue name")
			if errs := a.problem(t).Errors; len(errs) != 1 || errs[0].Parameter == nil || *errs[0].Parameter != "name" {
				t.Errorf("%s: %s", name, a.body)
			}
		}
	}
}

func TestClient_TakesALimitAway(t *testing.T) {
	s := newService(t)
	c, err := client.NewClientWithResponses(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	limited, err := c.ChangeQueueWithResponse(t.Context(), "mail", client.QueueChange{MaxRunning: nullable.NewNullableWithValue(5), Rate: nullable.NewNullableWithValue("1/s")})
	if err != nil || limited.JSON200 == nil || limited.JSON200.MaxRunning.MustGet() != 5 {
		t.Fatalf("%v %s", err, limited.Body)
	}
	free, err := c.ChangeQueueWithResponse(t.Context(), "mail", client.QueueChange{MaxRunning: nullable.NewNullNullable[int]()})
	if err != nil || free.JSON200 == nil || !free.JSON200.MaxRunning.IsNull() || free.JSON200.Rate.MustGet() != "1/s" {
		t.Fatalf("%v %s", err, free.Body)
	}
}

func TestQueues_ArePages(t *testing.T) {
	s := newService(t)
	var want, got []string
	for i := range 1001 {
		want = append(want, fmt.Sprintf("q%04d", i))
		s.call(http.MethodPatch, "/queues/"+want[i], `{"paused":true}`)
	}
	for next := "/queues"; next != ""; {
		a := s.call(http.MethodGet, next, "")
		page := a.fields(t)["queues"].([]any)
		if len(page) > 1000 {
			t.Errorf("a page of %d", len(page))
		}
		for _, q := range page {
			got = append(got, q.(map[string]any)["name"].(string))
		}
		next, _, _ = strings.Cut(strings.TrimPrefix(a.header.Get("Link"), "<"), ">")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for query, detail := range map[string]string{
		"limit=0": "limit: must be from 1 to 1000", "limit=1001": "limit: must be from 1 to 1000", "cursor=x": "cursor: is not a cursor",
		"cursor=AmA": "cursor: is not a cursor", "cursor=AQGbHF-O4Xs7gAAAAb9zGdNJbrXt3E6D5g": "cursor: is not a cursor",
	} {
		wantProblem(t, s.call(http.MethodGet, "/queues?"+query, ""), http.StatusUnprocessableEntity, "invalid", detail)
	}
}
