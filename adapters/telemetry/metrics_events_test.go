package telemetry_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"go.opentelemetry.io/otel/trace"

	"github.com/millrace/millrace/adapters/telemetry"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// taskIn is a task of the queue that a worker processes.
func taskIn(t *testing.T, queue string) *domain.Task {
	t.Helper()
	task, err := domain.NewTask(domain.TaskSpec{Message: "Hello", MaxAttempts: new(3), Queue: new(domain.QueueName(queue))}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return task
}

func TestMetrics_CountWhatHappensToTasks(t *testing.T) {
	m, ctx := telemetry.NewMetrics("v1"), t.Context()
	e := m.Events()
	mail, other := taskIn(t, "mail"), taskIn(t, "reports")
	e.TasksSubmitted(ctx, []*domain.Task{mail, mail, other, mail})
	e.AttemptStarting(ctx, mail, 2*time.Second)
	e.AttemptEnded(ctx, mail, application.AttemptEnd{Outcome: domain.OutcomeFailed, Began: true, Took: time.Second}) // it is to be retried
	e.AttemptEnded(ctx, mail, application.AttemptEnd{Outcome: domain.OutcomeReleased})
	if err := other.Cancel(time.Now()); err != nil {
		t.Fatal(err)
	}
	e.TasksCanceled(ctx, []*domain.Task{other})
	e.AttemptEnded(ctx, other, application.AttemptEnd{Outcome: domain.OutcomeStopped, Began: true, Took: time.Second})
	e.Swept(ctx, application.SweepDue, 5)
	e.DispatchLag(ctx, 3*time.Second)
	e.Purged(ctx, 7, time.Hour)
	got := scrape(t, m)
	want(t, got, 3, "millrace_tasks_submitted_total", "queue", "mail")
	want(t, got, 1, "millrace_tasks_submitted_total", "queue", "reports")
	want(t, got, 1, "millrace_task_wait_seconds", "queue", "mail")
	want(t, got, 1, "millrace_attempts_total", "queue", "mail", "outcome", "failed")
	want(t, got, 1, "millrace_attempts_total", "queue", "mail", "outcome", "released")
	want(t, got, 1, "millrace_task_run_seconds", "queue", "mail", "outcome", "failed")
	if _, there := value(got, "millrace_task_run_seconds", "outcome", "released"); there {
		t.Error("a handler that was never called has run")
	}
	if _, there := value(got, "millrace_tasks_ended_total", "queue", "mail"); there {
		t.Error("a task that is to be retried has ended")
	}
	want(t, got, 2, "millrace_tasks_ended_total", "queue", "reports", "status", "canceled")
	want(t, got, 5, "millrace_dispatch_actions_total", "action", "due")
	want(t, got, 3, "millrace_dispatch_lag_seconds")
	want(t, got, 7, "millrace_purged_tasks_total")
	want(t, got, 3600, "millrace_purge_lag_seconds")
}

func TestMetrics_ForgetALagThatNobodyHasSeenForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := telemetry.NewMetrics("v1")
		say := func() {
			m.Events().DispatchLag(t.Context(), time.Hour)
			m.Events().Purged(t.Context(), 0, time.Hour)
		}
		for name, kept := range map[string]time.Duration{"millrace_dispatch_lag_seconds": 2 * time.Minute, "millrace_purge_lag_seconds": 15 * time.Minute} {
			if _, there := value(scrape(t, telemetry.NewMetrics("v1")), name); there {
				t.Errorf("%s: a lag that nobody has seen", name)
			}
			say()
			time.Sleep(kept)
			want(t, scrape(t, m), 3600, name)
			time.Sleep(time.Second) // the sweep is another worker's now
			if _, there := value(scrape(t, m), name); there {
				t.Errorf("%s: a lag of long ago", name)
			}
		}
	})
}

func TestMetrics_GiveLabelsToTwoHundredQueues(t *testing.T) {
	m := telemetry.NewMetrics("v1")
	for round := range 2 {
		for i := range 300 {
			m.Events().TasksSubmitted(t.Context(), []*domain.Task{taskIn(t, fmt.Sprintf("q%03d", i))})
		}
		got := scrape(t, m)
		if n := len(got["millrace_tasks_submitted_total"].GetMetric()); n != 201 {
			t.Errorf("%d series, want 201", n)
		}
		want(t, got, float64(round+1), "millrace_tasks_submitted_total", "queue", "q000")
		want(t, got, float64(100*(round+1)), "millrace_tasks_submitted_total", "queue", "other")
	}
}

// Of whatever is in a label: the names of queues are plain today, and come from clients.
func TestMetrics_ReadBackWhateverALabelHolds(t *testing.T) {
	m := telemetry.NewMetrics("v1")
	served := m.HTTP(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { r.Pattern = r.Header.Get("X-Label") }))
	labels := []string{`a"b`, `a\b`, "a\nb", `a{b="c"} 7`, "ä", "a,b=c"}
	for _, label := range labels {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		r.Header.Set("X-Label", label)
		served.ServeHTTP(httptest.NewRecorder(), r)
	}
	got := scrape(t, m)
	for _, label := range labels {
		want(t, got, 1, "millrace_http_request_duration_seconds", "route", label)
	}
}

func TestMetrics_AreServedAsNativeHistogramsAndWithTheTraceOfAnExample(t *testing.T) {
	m := telemetry.NewMetrics("v1")
	ctx := trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1, 2, 3}, SpanID: trace.SpanID{4}, TraceFlags: trace.FlagsSampled,
	}))
	m.Events().AttemptStarting(ctx, taskIn(t, "mail"), 300*time.Millisecond)
	ask := func(accept string) (string, string) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil)
		r.Header.Set("Accept", accept)
		answer := httptest.NewRecorder()
		m.Handler(slog.New(slog.DiscardHandler)).ServeHTTP(answer, r)
		return answer.Header().Get("Content-Type"), answer.Body.String()
	}
	kind, text := ask("application/openmetrics-text;version=1.0.0")
	if !strings.HasPrefix(kind, "application/openmetrics-text") || !strings.HasSuffix(text, "# EOF\n") ||
		!strings.Contains(text, `trace_id="01020300000000000000000000000000"`) {
		t.Errorf("%s without the example:\n%.2000s", kind, text)
	}
	kind, text = ask("application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited")
	decoder := expfmt.NewDecoder(strings.NewReader(text), expfmt.ResponseFormat(http.Header{"Content-Type": {kind}}))
	for {
		var family dto.MetricFamily
		if err := decoder.Decode(&family); err == io.EOF {
			t.Fatal("there is no millrace_task_wait_seconds")
		} else if err != nil {
			t.Fatal(err)
		}
		if family.GetName() != "millrace_task_wait_seconds" {
			continue
		}
		if h := family.GetMetric()[0].GetHistogram(); len(h.GetPositiveSpan()) == 0 || h.GetSampleSum() != .3 || len(h.GetBucket()) == 0 {
			t.Errorf("no native histogram: %v", h)
		}
		return
	}
}
