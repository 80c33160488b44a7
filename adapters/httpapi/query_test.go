package httpapi

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestStrictQueries_AreThoseOfTheDocument(t *testing.T) {
	want := map[string]map[string]bool{ // whether each may be repeated
		"GET /tasks": {
			"status": true, "queue": true, "metadata": true, "text": false, "limit": false, "cursor": false,
			"created_from": false, "created_before": false, "finished_from": false, "finished_before": false,
		},
		"GET /tasks/{id}": {"wait": false},
		"GET /bulk":       {"limit": false, "cursor": false},
		"GET /queues":     {"limit": false, "cursor": false},
		"GET /stats":      {"queue": false, "from": false, "to": false, "step": false},
	}
	for _, without := range []string{
		"POST /tasks", "POST /tasks/batch", "POST /tasks/bulk", "PATCH /tasks/{id}", "DELETE /tasks/{id}",
		"GET /tasks/{id}/attempts",
		"GET /tasks/{id}/explain", "GET /bulk/{id}", "PATCH /bulk/{id}", "GET /queues/{name}", "PATCH /queues/{name}",
	} {
		want[without] = map[string]bool{}
	}
	got := map[string]map[string]bool{}
	for op, params := range strictQueries {
		got[op] = map[string]bool{}
		for name, p := range params {
			got[op][name] = p.Schema.Type == "array"
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("checked are %v (-want +got):\n%s", slices.Sorted(maps.Keys(strictQueries)), diff)
	}
}

func TestCheckQuery_TakesAWholeNumberHoweverItIsWritten(t *testing.T) {
	for query, want := range map[string]string{
		"limit=1.0": "limit=1", "limit=1e1": "limit=10", "limit=1E%2B2": "limit=100", "limit=007": "limit=7", "limit=10.00e1": "limit=100",
		"limit=": "",
	} {
		if got, err := strictQueries["GET /tasks"].check(query); err != nil || got != want {
			t.Errorf("%s became %q, error %v", query, got, err)
		}
	}
	for _, query := range []string{"wait=0.0", "wait=-0"} {
		if got, err := strictQueries["GET /tasks/{id}"].check(query); err != nil || got != "wait=0" {
			t.Errorf("%s became %q, error %v", query, got, err)
		}
	}
}
