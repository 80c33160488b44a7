package httpapi_test

import (
	"maps"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

func TestStatistics_AreASeriesWithPercentiles(t *testing.T) {
	for name, open := range map[string]func(*testing.T) stores{"SQLite": openStores, "PostgreSQL": openServers} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			on := open(t)
			s := newServiceOn(t, on)
			nine := time.Date(2026, 1, 15, 9, 0, 0, 0, time.UTC)
			wait := make(domain.Histogram, domain.HistogramBuckets)
			wait[domain.BucketOf(time.Second)] = 100
			if err := on.statistics.Add(t.Context(), application.StatisticsBatch{Source: "a", Number: 1, Minutes: []domain.QueueMinute{
				{Queue: "mail", Minute: nine.Add(time.Minute), QueueCounts: domain.QueueCounts{Submitted: 3, Started: 100, Wait: wait}},
				{Queue: "other", Minute: nine, QueueCounts: domain.QueueCounts{Failed: 2, FailedAttempts: 4, Rescued: 1, Canceled: 5, Completed: 6}},
			}}); err != nil {
				t.Fatal(err)
			}
			none := map[string]any{"p50": nil, "p95": nil, "p99": nil}
			point := func(at string, counts map[string]any) map[string]any {
				p := map[string]any{"at": at, "wait_seconds": none, "run_seconds": none}
				for _, name := range []string{"submitted", "started", "completed", "failed_attempts", "failed", "canceled", "rescued"} {
					p[name] = 0.0
				}
				maps.Copy(p, counts)
				return p
			}
			others := map[string]any{"failed": 2.0, "failed_attempts": 4.0, "rescued": 1.0, "canceled": 5.0, "completed": 6.0}
			span := "from=2026-01-15T09:00:00Z&to=2026-01-15T09:01:30Z"

			all := s.call(http.MethodGet, "/stats?"+span, "").fields(t)
			last := all["points"].([]any)[1].(map[string]any)
			median := last["wait_seconds"].(map[string]any)["p50"].(float64)
			if median < 0.7 || median > 1.42 {
				t.Errorf("the median of waits of a second is %v", median)
			}
			last["wait_seconds"] = none
			want := map[string]any{
				"queue": nil, "from": "2026-01-15T09:00:00.000000Z", "to": "2026-01-15T09:02:00.000000Z", "step": 60.0,
				"points": []any{point("2026-01-15T09:00:00.000000Z", others), point("2026-01-15T09:01:00.000000Z", map[string]any{"submitted": 3.0, "started": 100.0})},
			}
			if diff := cmp.Diff(want, all); diff != "" {
				t.Errorf("all queues (-want +got):\n%s", diff)
			}
			one := s.call(http.MethodGet, "/stats?queue=other&step=120&"+span, "").fields(t)
			want["queue"], want["step"], want["points"] = "other", 120.0, []any{point("2026-01-15T09:00:00.000000Z", others)}
			if diff := cmp.Diff(want, one); diff != "" {
				t.Errorf("one queue (-want +got):\n%s", diff)
			}
		})
	}
}

func TestStatistics_NameTheParameterThatIsWrong(t *testing.T) {
	s := newService(t)
	for query, detail := range map[string]string{
		"queue=A%20B":   `queue: invalid queue name "A B"; want 1 to 64 of a-z, 0-9, dot, underscore and hyphen, starting with a letter or digit`,
		"from=tomorrow": "from: must be a time as in RFC 3339, such as 2026-01-15T09:30:00Z",
		"step=90":       "step: must be whole minutes, from 60 to 86400 seconds",
		"step=1":        "step: must be from 60 to 86400",
		"step=x":        `step: must be a whole number, not "x"`,
		"since=1":       "since: unknown parameter",
		"from=2026-01-15T09:00:00Z&to=2026-01-15T09:00:00Z":         "from: must be before to, which is 2026-01-15T09:00:00Z",
		"from=2026-01-14T09:00:00Z&to=2026-01-15T09:00:00Z":         "from: must be at most 6h0m0s before to unless queue is given",
		"queue=a&from=2026-01-01T00:00:00Z&to=2026-01-15T09:00:00Z": "step: is too short for the time from 2026-01-01T00:00:00Z: an answer has at most 1500 steps",
	} {
		wantProblem(t, s.call(http.MethodGet, "/stats?"+query, ""), http.StatusUnprocessableEntity, "invalid", detail)
	}
	if a := s.call(http.MethodGet, "/stats?"+url.Values{"queue": {string(domain.OtherQueues)}}.Encode(), ""); a.status != http.StatusOK {
		t.Errorf("the queues that are not told apart: %d %s", a.status, a.body)
	}
}
