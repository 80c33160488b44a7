package e2e

import (
	"net/http"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/millrace/millrace/test/programs"
)

// scraped is what the program on that address serves at /metrics, read by Prometheus' own
// parser; nil: it does not answer.
func scraped(t *testing.T, addr string) map[string]*dto.MetricFamily {
	t.Helper()
	res, err := http.Get("http://" + addr + "/metrics")
	if err != nil || res.StatusCode != http.StatusOK {
		return nil
	}
	defer res.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(res.Body)
	if err != nil {
		t.Fatalf("%s: %v", addr, err)
	}
	return families
}

// figure adds up the metrics of that name with these labels; -1: there is none.
func figure(families map[string]*dto.MetricFamily, name string, labels ...string) float64 {
	sum, there := 0.0, false
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
			there = true
			sum += metric.GetGauge().GetValue() + metric.GetCounter().GetValue() + float64(metric.GetHistogram().GetSampleCount())
		}
	}
	if !there {
		return -1
	}
	return sum
}

// eventually waits until the program serves that figure.
func eventually(t *testing.T, addr string, want float64, name string, labels ...string) {
	t.Helper()
	got := -1.0
	for end := time.Now().Add(programs.Patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if got = figure(scraped(t, addr), name, labels...); got == want {
			return
		}
	}
	t.Errorf("%s%q is %v, want %v", name, labels, got, want)
}

func TestMetrics_OfAPIAndWorkerAreWhatHasHappened(t *testing.T) {
	t.Parallel()
	apiAdmin, admin := programs.FreeAddr(t), programs.FreeAddr(t)
	d := deployAll(t, "ADMIN_ADDR="+apiAdmin)
	submit := func(body string) { d.call(http.MethodPost, "/tasks", body, http.StatusCreated, new(task)) }
	d.worker("ADMIN_ADDR="+admin, "HANDLER=noop:", "QUEUES=default,mail", "WORKER_QUEUE_MAXSIZE=7")
	for range 5 {
		submit(`{"message":"Hello"}`)
	}
	for range 3 {
		submit(`{"message":"Hello","queue":"mail"}`)
	}
	submit(`{"message":"Hello","queue":"nobody","priority":9}`)
	submit(`{"message":"Hello","queue":"mail","delay":3600}`)

	eventually(t, admin, 5, "millrace_tasks_ended_total", "queue", "default", "status", "completed")
	eventually(t, admin, 3, "millrace_tasks_ended_total", "queue", "mail", "status", "completed")
	for name, want := range map[string]float64{
		"millrace_attempts_total": 8, "millrace_task_run_seconds": 8, "millrace_task_wait_seconds": 8,
		"millrace_worker_slots": 7, "millrace_worker_slots_busy": 0, "millrace_handlers_abandoned": 0, "millrace_dependency_up": 2,
		"millrace_queue_tasks": -1, "millrace_invariant_violations": -1, "millrace_http_request_duration_seconds": -1, // not a worker's
	} {
		eventually(t, admin, want, name)
	}
	eventually(t, apiAdmin, 5, "millrace_tasks_submitted_total", "queue", "default")
	eventually(t, apiAdmin, 4, "millrace_tasks_submitted_total", "queue", "mail")
	eventually(t, apiAdmin, 10, "millrace_http_request_duration_seconds", "method", "POST", "route", "/tasks", "code", "201")
	eventually(t, apiAdmin, 1, "millrace_queue_tasks", "queue", "nobody", "state", "pending")
	eventually(t, apiAdmin, 1, "millrace_queue_tasks", "queue", "mail", "state", "scheduled")
	eventually(t, apiAdmin, 0, "millrace_queue_tasks", "queue", "mail", "state", "pending")
	eventually(t, apiAdmin, 1, "millrace_queue_workers", "queue", "mail")
	eventually(t, apiAdmin, 0, "millrace_queue_workers", "queue", "nobody")
	eventually(t, apiAdmin, 0, "millrace_invariant_violations")
	eventually(t, apiAdmin, -1, "millrace_attempts_total") // not an API's
	if status, _ := call(t, "http://"+d.addr, http.MethodGet, "/metrics", ""); status != http.StatusNotFound {
		t.Errorf("the API serves metrics to its clients: %d", status)
	}
}
