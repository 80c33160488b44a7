package telemetry_test

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/millrace/millrace/adapters/telemetry"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/worker"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/apptest"
)

// scrape asks for the metrics as Prometheus does, and reads them with its parser.
func scrape(t *testing.T, m *telemetry.Metrics) map[string]*dto.MetricFamily {
	t.Helper()
	answer := httptest.NewRecorder()
	m.Handler(slog.New(slog.DiscardHandler)).ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(answer.Body)
	if err != nil || answer.Code != http.StatusOK {
		t.Fatalf("%d: %v", answer.Code, err)
	}
	return families
}

// value is that of the metric with these labels; false: there is none.
func value(families map[string]*dto.MetricFamily, name string, labels ...string) (float64, bool) {
	for _, metric := range families[name].GetMetric() {
		all := map[string]string{}
		for _, pair := range metric.GetLabel() {
			all[pair.GetName()] = pair.GetValue()
		}
		same := true
		for i := 0; i < len(labels); i += 2 {
			same = same && all[labels[i]] == labels[i+1]
		}
		if same {
			return metric.GetGauge().GetValue() + metric.GetCounter().GetValue() + metric.GetUntyped().GetValue() +
				float64(metric.GetHistogram().GetSampleCount()), true
		}
	}
	return 0, false
}

func want(t *testing.T, families map[string]*dto.MetricFamily, figure float64, name string, labels ...string) {
	t.Helper()
	if got, ok := value(families, name, labels...); !ok || got != figure {
		t.Errorf("%s%q is %v (there: %v), want %v", name, labels, got, ok, figure)
	}
}

// audit is an Audit that finds what a test says.
type audit struct {
	found map[application.Rule]int
	err   error
}

func (a *audit) Violations(context.Context, int) (map[application.Rule]int, error) {
	return a.found, a.err
}

func TestMetrics_TellWhatTheStoreKnowsWithOneStatementInFiveSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, asked := apptest.NewPorts(t), 0
		p.Queues.EXPECT().List(apptest.Any, apptest.Any).DoAndReturn(func(context.Context, application.QueueQuery) ([]application.QueueInfo, error) {
			asked++
			return []application.QueueInfo{
				{QueueSettings: domain.QueueSettings{Name: "mail", Paused: true}, Pending: 3, Scheduled: 2, Processing: 1, Oldest: time.Now().Add(-time.Minute), Workers: 4},
				{QueueSettings: domain.QueueSettings{Name: "idle"}},
			}, nil
		}).AnyTimes()
		p.Clock.EXPECT().Now().DoAndReturn(time.Now).AnyTimes()
		m := telemetry.NewMetrics("v1")
		m.CollectStore(telemetry.StoreSource{Queues: p.Queues, Clock: p.Clock, Audit: &audit{found: map[application.Rule]int{application.RuleQueued: 7}}})
		for range 100 { // ten seconds
			got := scrape(t, m)
			for state, n := range map[string]float64{"pending": 3, "scheduled": 2, "processing": 1} {
				want(t, got, n, "millrace_queue_tasks", "queue", "mail", "state", state)
			}
			want(t, got, 60, "millrace_queue_oldest_pending_seconds", "queue", "mail")
			want(t, got, 0, "millrace_queue_oldest_pending_seconds", "queue", "idle")
			want(t, got, 1, "millrace_queue_paused", "queue", "mail")
			want(t, got, 0, "millrace_queue_paused", "queue", "idle")
			want(t, got, 4, "millrace_queue_workers", "queue", "mail")
			want(t, got, 7, "millrace_invariant_violations", "rule", string(application.RuleQueued))
			time.Sleep(100 * time.Millisecond)
		}
		if asked != 2 {
			t.Errorf("the store was asked %d times in ten seconds, want 2", asked)
		}
	})
}

// stalled is the Probe of a server that does not even refuse.
type stalled struct{}

func (stalled) Probe(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestMetrics_SayThatAServerIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := apptest.NewPorts(t)
		p.Queues.EXPECT().List(apptest.Any, apptest.Any).Return(nil, errors.New("away")).AnyTimes()
		m := telemetry.NewMetrics("v1")
		m.CollectServers(func() []sql.DBStats { return []sql.DBStats{{InUse: 2, Idle: 3, WaitDuration: time.Second}, {InUse: 1}} },
			map[string]application.Probe{"database": stalled{}})
		m.CollectStore(telemetry.StoreSource{Queues: p.Queues, Clock: p.Clock, Audit: &audit{}})
		m.CollectWorker(func() worker.Slots { return worker.Slots{Max: 10, Busy: 4, Abandoned: 1} })
		scrape(t, m)
		time.Sleep(2 * time.Second)
		asked := time.Now()
		got := scrape(t, m)
		if time.Since(asked) > 0 {
			t.Errorf("a scrape has waited %v for a server that is away", time.Since(asked))
		}
		want(t, got, 0, "millrace_dependency_up", "dependency", "database")
		want(t, got, 3, "millrace_db_connections", "state", "in_use")
		want(t, got, 3, "millrace_db_connections", "state", "idle")
		want(t, got, 1, "millrace_db_wait_seconds_total")
		want(t, got, 10, "millrace_worker_slots")
		want(t, got, 4, "millrace_worker_slots_busy")
		want(t, got, 1, "millrace_handlers_abandoned")
		want(t, got, 1, "millrace_build_info", "version", "v1")
		if _, there := value(got, "millrace_queue_tasks"); there {
			t.Error("figures of a store that nobody has reached")
		}
	})
}

func TestMetrics_OfRequestsHaveTheirRouteAndNothingThatAClientChooses(t *testing.T) {
	m := telemetry.NewMetrics("v1")
	served := m.HTTP(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/tasks/") {
			r.Pattern = "/tasks/{id}"
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	for _, r := range []*http.Request{
		httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/tasks/1", nil),
		httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/tasks/2", nil),
		httptest.NewRequestWithContext(t.Context(), "BREW", "/%22%0a}", nil),
	} {
		served.ServeHTTP(httptest.NewRecorder(), r)
	}
	got := scrape(t, m)
	want(t, got, 2, "millrace_http_request_duration_seconds", "method", "GET", "route", "/tasks/{id}", "code", "404")
	want(t, got, 1, "millrace_http_request_duration_seconds", "method", "other", "route", "none", "code", "200")
}
