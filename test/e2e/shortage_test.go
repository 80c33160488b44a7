package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

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

// completeScarce submits more tasks than can run at once, and lets their handlers return
// once the program has said what it lacks; none of them may fail, although each has one
// attempt.
func (d *deployment) completeScarce(n int, letReturn func()) {
	d.t.Helper()
	for range n {
		d.call(http.MethodPost, "/tasks", `{"message":"x","max_attempts":1}`, http.StatusCreated, nil)
	}
	programs.Eventually(d.t, programs.Patience, "it says what it lacks", func() bool {
		_, text := call(d.t, "http://"+d.addr, http.MethodGet, "/readyz", "")
		return strings.Contains(text, "too many open files")
	})
	letReturn()
	programs.Eventually(d.t, programs.Patience, "all tasks have ended", func() bool {
		return d.count("completed")+d.count("failed") == n
	})
	if failed := d.count("failed"); failed != 0 {
		d.t.Errorf("%d of %d tasks failed", failed, n)
	}
	for _, line := range []string{"limits are too low", "loop failing"} {
		if n := strings.Count(d.api.Output(), line); n != 1 {
			d.t.Errorf("%d lines with %q", n, line)
		}
	}
}

func TestMillrace_WithoutDescriptorsForProgramsFailsNoTask(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	mayReturn, program := filepath.Join(dir, "may-return"), filepath.Join(dir, "program")
	script := fmt.Sprintf("#!/bin/sh\nuntil [ -e %s ]; do sleep 0.5; done\n", mayReturn)
	if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	d := embedLimited(t, "120", "HANDLER=exec:"+program, "WORKER_QUEUE_MAXSIZE=60")
	d.completeScarce(60, func() {
		if err := os.WriteFile(mayReturn, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	})
}

func TestMillrace_WithoutDescriptorsForWebhooksFailsNoTask(t *testing.T) {
	t.Parallel()
	mayReturn := make(chan struct{})
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-mayReturn:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(receiver.Close)
	d := embedLimited(t, "100", "HANDLER="+receiver.URL, "WORKER_QUEUE_MAXSIZE=100")
	d.completeScarce(100, func() { close(mayReturn) })
}
