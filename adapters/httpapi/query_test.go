package httpapi

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestStrictQueries_AreThoseOfTheDocument(t *testing.T) {
	want := map[string]queryParameters{
		"GET /tasks": {
			"status": true, "queue": true, "metadata": true, "text": false, "limit": false, "cursor": false,
			"created_from": false, "created_before": false, "finished_from": false, "finished_before": false,
		},
		"GET /tasks/{id}": {"wait": false},
		"GET /bulk":       {"limit": false, "cursor": false},
		"GET /queues":     {"limit": false, "cursor": false},
	}
	for _, without := range []string{
		"POST /tasks", "POST /tasks/batch", "POST /tasks/bulk", "PATCH /tasks/{id}", "GET /tasks/{id}/attempts",
		"GET /tasks/{id}/explain", "GET /bulk/{id}", "PATCH /bulk/{id}", "GET /queues/{name}", "PATCH /queues/{name}",
	} {
		want[without] = queryParameters{}
	}
	if diff := cmp.Diff(want, strictQueries); diff != "" {
		t.Errorf("checked are %v (-want +got):\n%s", slices.Sorted(maps.Keys(strictQueries)), diff)
	}
}
