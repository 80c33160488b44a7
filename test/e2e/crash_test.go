package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/millrace/millrace/test/programs"
	"github.com/millrace/millrace/test/services"
)

const (
	// shortLease is short enough to wait for, and long enough for a busy machine to
	// keep up the heartbeats of whoever lives.
	shortLease  = 5 * time.Second
	leaseEnv    = "LEASE_TIMEOUT=5s"
	outcomeLost = "attempt lost its task: its outcome was dropped"
)

func (d *deployment) patch(id, status string, want int) task {
	d.t.Helper()
	var got task
	d.call(http.MethodPatch, "/tasks/"+id, `{"status":"`+status+`"}`, want, &got)
	return got
}

// observer starts a worker that is busy with a task of its own for as long as the
// test runs, and so claims nothing else: it only rescues.
func (d *deployment) observer(env ...string) {
	d.t.Helper()
	id := d.submit("keeps the observer busy").ID
	d.worker(append(env, "HANDLER=sleep:1h", "WORKER_QUEUE_MAXSIZE=1")...)
	d.becomes(id, "processing")
}

func TestWorker_ThatWasFrozenChangesNothingOfATaskThatAnotherHas(t *testing.T) {
	t.Parallel()
	const works = 8 * time.Second
	for name, frozen := range map[string][]string{ // what it would do when it wakes
		"complete": {"HANDLER=sleep:" + works.String()},
		"fail":     {"HANDLER=sleep:1h", "TASK_TIMEOUT=" + works.String()},
		"run on":   {"HANDLER=sleep:1h"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := deployAll(t, leaseEnv)
			one := d.worker(frozen...)
			id := d.submit("for two").ID
			d.becomes(id, "processing")
			one.Signal(syscall.SIGSTOP)
			frozenAt := time.Now()

			d.worker("HANDLER=sleep:20s")
			programs.Eventually(t, programs.Patience, "another worker has the task", func() bool {
				got := d.get(id)
				return got.Attempt == 2 && got.Status == "processing"
			})
			time.Sleep(time.Until(frozenAt.Add(works))) // it is late with what it would do
			one.Signal(syscall.SIGCONT)
			programs.Eventually(t, programs.Patience, "the frozen worker says that the attempt was lost", func() bool {
				return strings.Contains(one.Output(), outcomeLost) && strings.Contains(one.Output(), id)
			})
			if got := d.get(id); got.Attempt != 2 || got.Status != "processing" && !strings.Contains(got.LastError, "lost") {
				t.Errorf("the other worker has not kept it: %+v", got)
			}
			if got := d.becomes(id, "completed"); got.Attempt != 2 || got.Failures != 0 || !strings.Contains(got.LastError, "lost") {
				t.Errorf("at the end: %+v", got)
			}
			if strings.Contains(one.Output(), "ignored the end of its context") {
				t.Error("the handler's context was not ended")
			}
		})
	}
}

func TestWorker_ThatIsKilledLosesItsTasksToAnother(t *testing.T) {
	t.Parallel()
	d := deployAll(t, leaseEnv, "MAX_ATTEMPTS=1")
	d.observer()
	var ids []string
	for i := range 5 {
		ids = append(ids, d.submit(fmt.Sprint("task ", i)).ID)
	}
	one := d.worker("HANDLER=sleep:1h")
	for _, id := range ids {
		d.becomes(id, "processing")
	}
	killed := time.Now()
	one.Kill()
	for _, id := range ids {
		got := d.becomes(id, "pending")
		at, err := time.Parse(time.RFC3339, got.UpdatedAt)
		if err != nil {
			t.Error(err)
		}
		t.Logf("pending again %v after the kill", at.Sub(killed)) // TestChaos has the limit
	}
	d.worker("HANDLER=noop:")
	for _, id := range ids {
		if got := d.becomes(id, "completed"); got.Attempt != 2 || got.Failures != 0 {
			t.Errorf("at the end: %+v", got)
		}
	}
}

func TestTask_ThatKillsItsWorkersFailsInTheEnd(t *testing.T) {
	t.Parallel()
	const rescues = 2
	d := deployAll(t, leaseEnv, fmt.Sprint("MAX_RESCUES=", rescues))
	d.observer()
	id := d.submit("poison").ID
	for n := 1; n <= rescues; n++ {
		victim := d.worker("HANDLER=sleep:1h")
		programs.Eventually(t, programs.Patience, fmt.Sprint("attempt ", n), func() bool {
			got := d.get(id)
			return got.Status == "processing" && got.Attempt == n
		})
		victim.Kill()
		programs.Eventually(t, programs.Patience, "the task is taken back", func() bool { return d.get(id).Status != "processing" })
	}
	got := d.get(id)
	if got.Status != "failed" || got.Attempt != rescues || got.Failures != 0 || !strings.Contains(got.LastError, "worker") {
		t.Errorf("after %d workers have died of it: %+v", rescues, got)
	}
	if got := d.patch(id, "pending", http.StatusOK); got.Status != "pending" {
		t.Errorf("reopened: %+v", got)
	}
	d.worker("HANDLER=noop:")
	d.becomes(id, "completed")
}

func TestWorkers_LoseNothingInAnOutageOfPostgreSQLLongerThanTheLease(t *testing.T) {
	t.Parallel()
	server := services.StartPostgreSQL(t)
	d := deploy(t, server.URL("postgres"), services.Redis(t), leaseEnv, "MAX_ATTEMPTS=1")
	const each = 3
	var ids []string
	var workers []*programs.Process
	for _, handler := range []string{"HANDLER=sleep:40s", "HANDLER=sleep:8s"} { // one ends after the outage, one during it
		workers = append(workers, d.worker(handler, fmt.Sprint("WORKER_QUEUE_MAXSIZE=", each)))
		for i := range each {
			ids = append(ids, d.submit(fmt.Sprint("task ", i)).ID)
		}
		for _, id := range ids[len(ids)-each:] {
			d.becomes(id, "processing")
		}
	}
	server.Stop(services.StopImmediate)
	time.Sleep(2*shortLease + time.Second)
	server.Start()
	d.ready()
	for _, id := range ids {
		if got := d.becomes(id, "completed"); got.Attempt != 1 || got.Failures != 0 {
			t.Errorf("after the outage: %+v", got)
		}
	}
	for _, w := range workers { // a line for each loop, not for each of the tries
		if n := strings.Count(w.Output(), "failing, retrying"); n == 0 || n > 2*6 {
			t.Errorf("%d lines say that something fails", n)
		}
	}
}
