package telemetry_test

import (
	"context"
	"database/sql"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/adapters/telemetry"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/worker"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/apptest"
)

type answers struct{}

func (answers) Probe(context.Context) error { return nil }

// served are the names of all metrics of ours that any program serves.
func served(t *testing.T) []string {
	t.Helper()
	p, ctx, task := apptest.NewPorts(t), t.Context(), taskIn(t, "mail")
	p.Queues.EXPECT().List(apptest.Any, apptest.Any).Return([]application.QueueInfo{{QueueSettings: domain.QueueSettings{Name: "mail"}}}, nil)
	p.Clock.EXPECT().Now().DoAndReturn(time.Now).AnyTimes()
	m := telemetry.NewMetrics("v1")
	m.CollectServers(func() []sql.DBStats { return make([]sql.DBStats, 1) }, map[string]application.Probe{"database": answers{}})
	m.CollectStore(telemetry.StoreSource{Queues: p.Queues, Clock: p.Clock, Audit: &audit{found: map[application.Rule]int{application.RuleQueued: 0}}})
	m.CollectWorker(func() worker.Slots { return worker.Slots{} })
	m.CollectDisk(func() (free, size uint64, ok bool) { return 1, 2, true })
	m.HTTP(http.NotFoundHandler()).ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil))
	e := m.Events()
	e.TasksSubmitted(ctx, []*domain.Task{task})
	e.TasksCanceled(ctx, []*domain.Task{task})
	e.AttemptStarting(ctx, task, 0)
	e.AttemptEnded(ctx, task, application.AttemptEnd{Outcome: domain.OutcomeFailed, Began: true})
	e.Swept(ctx, application.SweepDue, 1)
	e.DispatchLag(ctx, 0)
	e.Purged(ctx, 0, 0)
	names := slices.Sorted(maps.Keys(scrape(t, m)))
	return slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, "millrace_") })
}

func document(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile("../../" + path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var (
	metricName = regexp.MustCompile(`\bmillrace_[a-z_]+`)
	alertName  = regexp.MustCompile(`(?m)^ *- alert: (\w+)$`)
	// tables are what documents call by such a name and is no metric.
	tables = []string{"millrace_schema_version", "millrace_sweeps", "millrace_purges", "millrace_installation"}
)

func TestDocuments_NameMetricsThatAreServedAndEachOfThem(t *testing.T) {
	names := served(t)
	known := func(name string) bool {
		for _, suffix := range []string{"", "_bucket", "_count", "_sum"} {
			if base, ok := strings.CutSuffix(name, suffix); ok && slices.Contains(names, base) {
				return true
			}
		}
		return slices.Contains(tables, name)
	}
	for _, path := range []string{
		"deploy/prometheus/alerts.yml", "deploy/prometheus/alerts_test.yml", "deploy/grafana/millrace.json",
		"docs/observability.md", "docs/operations.md", "README.md",
	} {
		for _, name := range metricName.FindAllString(document(t, path), -1) {
			if !known(name) {
				t.Errorf("%s names %s, which no program serves", path, name)
			}
		}
	}
	table := document(t, "docs/observability.md")
	for _, name := range names {
		if !strings.Contains(table, "| `"+name+"`") {
			t.Errorf("docs/observability.md has no row for %s", name)
		}
	}
}

func TestDocuments_SayWhatToDoAboutEachAlert(t *testing.T) {
	rules, tests, sections := document(t, "deploy/prometheus/alerts.yml"), document(t, "deploy/prometheus/alerts_test.yml"), document(t, "docs/operations.md")
	alerts := alertName.FindAllStringSubmatch(rules, -1)
	if len(alerts) == 0 {
		t.Fatal("there is no alert")
	}
	for _, match := range alerts {
		alert := match[1]
		if !strings.Contains(rules, "runbook: docs/operations.md#"+strings.ToLower(alert)+"\n") || !strings.Contains(sections, "### "+alert+"\n") {
			t.Errorf("%s has no section in docs/operations.md, or does not name it", alert)
		}
		if !strings.Contains(tests, "alertname: "+alert+", exp_alerts: []") || !strings.Contains(tests, "alertname: "+alert+"\n        exp_alerts:\n          - exp_labels") {
			t.Errorf("%s is not tested both to fire and to stay silent", alert)
		}
	}
}
