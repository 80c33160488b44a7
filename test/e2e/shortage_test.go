package e2e

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/test/programs"
)

// embedLimited starts millrace serve with at most so many file descriptors.
func embedLimited(t *testing.T, descriptors string, env ...string) *deployment {
	t.Helper()
	d := &deployment{t: t, addr: programs.FreeAddr(t)}
	d.api = programs.StartFile(t, t.TempDir(), append([]string{"LISTEN_ADDR=" + d.addr}, env...),
		"/bin/sh", "-c", "ulimit -n "+descriptors+"; exec "+programs.Path("millrace")+" serve")
	d.ready()
	return d
}

// completeScarce submits more tasks than can run at once; none of them may fail, although
// each has one attempt.
func (d *deployment) completeScarce(n int) {
	d.t.Helper()
	for range n {
		d.call(http.MethodPost, "/tasks", `{"message":"x","max_attempts":1}`, http.StatusCreated, nil)
	}
	unready := ""
	programs.Eventually(d.t, programs.Patience, "all tasks are completed", func() bool {
		if _, text := call(d.t, "http://"+d.addr, http.MethodGet, "/readyz", ""); strings.Contains(text, "too many open files") {
			unready = text
		}
		return d.count("completed")+d.count("failed") == n
	})
	if failed := d.count("failed"); failed != 0 {
		d.t.Errorf("%d of %d tasks failed", failed, n)
	}
	if unready == "" {
		d.t.Error("it never said what it lacks")
	}
	for _, line := range []string{"limits are too low", "loop failing"} {
		if n := strings.Count(d.api.Output(), line); n != 1 {
			d.t.Errorf("%d lines with %q", n, line)
		}
	}
}

func TestMillrace_WithoutDescriptorsForProgramsFailsNoTask(t *testing.T) {
	t.Parallel()
	d := embedLimited(t, "120", "HANDLER=exec:/bin/sleep 2", "WORKER_QUEUE_MAXSIZE=60")
	d.completeScarce(60)
}

func TestMillrace_WithoutDescriptorsForWebhooksFailsNoTask(t *testing.T) {
	t.Parallel()
	receiver := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { time.Sleep(2 * time.Second) }))
	t.Cleanup(receiver.Close)
	d := embedLimited(t, "100", "HANDLER="+receiver.URL, "WORKER_QUEUE_MAXSIZE=100")
	d.completeScarce(100)
}
