package e2e

import (
	"net/http"
	"strings"
	"testing"
)

func TestTask_FailsWhenItsTimeIsOverAndCanBeReopened(t *testing.T) {
	t.Parallel()
	d := deployAll(t, "MAX_ATTEMPTS=2", "RETRY_BASE=50ms")
	canceled := d.submit("canceled").ID
	d.patch(canceled, "canceled", http.StatusOK)
	id := d.submit("too long").ID
	w := d.worker("HANDLER=sleep:1h", "TASK_TIMEOUT=300ms")

	got := d.becomes(id, "failed")
	if got.Attempt != 2 || got.Failures != 2 || !strings.Contains(got.LastError, "300ms") {
		t.Errorf("after two attempts that took too long: %+v", got)
	}
	w.Stop()
	if got := d.patch(id, "pending", http.StatusOK); got.Status != "pending" || got.Failures != 0 {
		t.Errorf("reopened: %+v", got)
	}
	w = d.worker("HANDLER=sleep:1h", "TASK_TIMEOUT=300ms")
	if got := d.becomes(id, "failed"); got.Attempt != 4 || got.Failures != 2 {
		t.Errorf("after a fresh budget: %+v", got)
	}
	w.Stop()
	d.patch(id, "pending", http.StatusOK)
	d.worker()
	d.becomes(id, "completed")

	for _, ended := range []string{canceled, id} {
		d.call(http.MethodPatch, "/tasks/"+ended, `{"status":"pending"}`, http.StatusConflict, nil)
	}
	if got := d.get(canceled); got.Status != "canceled" || got.Attempt != 0 {
		t.Errorf("a canceled task is final: %+v", got)
	}
}

func TestTask_IsNotChargedForInterruptions(t *testing.T) {
	t.Parallel()
	d := deployAll(t, "MAX_ATTEMPTS=1", "MAX_RESCUES=1")
	id := d.submit("interrupted").ID
	for n := 1; n <= 3; n++ {
		w := d.worker("HANDLER=sleep:1h", "SHUTDOWN_TIMEOUT=0s")
		if got := d.becomes(id, "processing"); got.Attempt != n {
			t.Errorf("attempt %d, not %d", got.Attempt, n)
		}
		w.Stop()
		if got := d.get(id); got.Status != "pending" || got.Failures != 0 || got.LastError != "" {
			t.Errorf("after stop %d: %+v", n, got)
		}
	}
	d.worker()
	if got := d.becomes(id, "completed"); got.Attempt != 4 || got.Failures != 0 {
		t.Errorf("at the end: %+v", got)
	}
}
