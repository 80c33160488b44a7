package httpapi_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/domain"
)

func TestOutage_OfTheStoreIsLoggedOnceWhateverTheRoute(t *testing.T) {
	for _, c := range []struct{ method, path, body string }{
		{http.MethodGet, "/tasks", ""},
		{http.MethodPost, "/tasks", `{"message":"x"}`},
		{http.MethodPost, "/tasks/batch", `{"tasks":[{"message":"x"}]}`},
		{http.MethodGet, "/tasks/019b1c5f-8ee1-7b3b-8000-0001bf7319d3", ""},
		{http.MethodGet, "/tasks/019b1c5f-8ee1-7b3b-8000-0001bf7319d3?wait=1", ""},
		{http.MethodPatch, "/tasks/019b1c5f-8ee1-7b3b-8000-0001bf7319d3", `{"status":"canceled"}`},
		{http.MethodGet, "/tasks/019b1c5f-8ee1-7b3b-8000-0001bf7319d3/explain", ""},
		{http.MethodPost, "/tasks/bulk", `{"action":"cancel","filter":{},"all":true}`},
		{http.MethodGet, "/bulk/019b1c60-1f00-7c11-8000-0003bf7319d3", ""},
		{http.MethodGet, "/queues", ""},
		{http.MethodGet, "/stats", ""},
		{http.MethodPatch, "/queues/mail", `{"paused":true}`},
	} {
		t.Run(c.method+strings.ReplaceAll(c.path, "/", "_"), func(t *testing.T) {
			t.Parallel()
			s := newService(t)
			s.store.set(func(context.Context) error { return fmt.Errorf("connect: %w", domain.ErrUnavailable) })
			for range 3 {
				wantProblem(t, s.call(c.method, c.path, c.body), http.StatusServiceUnavailable, "unavailable", "")
			}
			if n := strings.Count(s.log.String(), "store failing"); n != 1 {
				t.Errorf("the outage was logged %d times:\n%s", n, s.log)
			}
			s.store.set(nil)
			s.call(c.method, c.path, c.body)
			time.Sleep(3200 * time.Millisecond) // until then the success may be by chance
			if n := strings.Count(s.log.String(), "store working again"); n != 1 {
				t.Errorf("the end of the outage was logged %d times:\n%s", n, s.log)
			}
		})
	}
}
