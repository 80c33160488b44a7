// Package e2e runs the programs as processes, against real servers.
package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	_ "github.com/lib/pq" // the driver "postgres"

	"github.com/millrace/millrace/test/programs"
	"github.com/millrace/millrace/test/services"
)

// handled counts, by message, what the log: handler of the workers has handled.
func handled(workers ...*programs.Process) map[string]int {
	n := map[string]int{}
	for _, w := range workers {
		for line := range strings.Lines(w.Output()) {
			var entry struct{ Msg, Message string }
			if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == "task" {
				n[entry.Message]++
			}
		}
	}
	return n
}

func TestService_ThousandTasksAreEachProcessedOnceOrCanceled(t *testing.T) {
	t.Parallel()
	const tasks, cancels, clients = 1000, 50, 32
	d := deployAll(t)
	base := "http://" + d.addr

	var next, posted atomic.Int64
	var started sync.WaitGroup // the first tasks are posted and canceled
	started.Add(cancels)
	var posting sync.WaitGroup
	for range clients {
		posting.Go(func() {
			for {
				i := next.Add(1) - 1
				if i >= tasks {
					return
				}
				status, text := call(t, base, http.MethodPost, "/tasks", fmt.Sprintf(`{"message":"task %d"}`, i))
				var got task
				if err := json.Unmarshal([]byte(text), &got); err != nil || status != http.StatusCreated {
					t.Errorf("task %d: %d %s", i, status, text)
				}
				if i < cancels {
					if status, text := call(t, base, http.MethodPatch, "/tasks/"+got.ID, `{"status":"canceled"}`); status != http.StatusOK {
						t.Errorf("cancel task %d: %d %s", i, status, text)
					}
					started.Done()
				}
				posted.Add(1)
			}
		})
	}
	started.Wait()
	one := d.worker("WORKER_QUEUE_MAXSIZE=10")
	programs.Eventually(t, programs.Patience, "the first worker works", func() bool { return len(handled(one)) > 50 })
	two := d.worker("WORKER_QUEUE_MAXSIZE=10")
	one.Stop()
	again := d.worker("WORKER_QUEUE_MAXSIZE=10")
	posting.Wait()

	programs.Eventually(t, programs.Patience, "all tasks ended", func() bool { return d.count("pending")+d.count("processing") == 0 })
	if got := [3]int{d.count("completed"), d.count("canceled"), d.count("failed")}; got != [3]int{tasks - cancels, cancels, 0} {
		t.Errorf("completed, canceled, failed: %v, not [%d %d 0]", got, tasks-cancels, cancels)
	}
	times := handled(one, two, again)
	if len(times) != tasks-cancels {
		t.Errorf("%d tasks were handled, not %d", len(times), tasks-cancels)
	}
	for message, n := range times {
		if n != 1 {
			t.Errorf("%q was handled %d times", message, n)
		}
	}
}

func TestWorker_FinishesWhatRunsOnSIGTERM(t *testing.T) {
	t.Parallel()
	d := deployAll(t, "HANDLER=sleep:2s")
	w := d.worker()
	id := d.submit("a long one").ID
	d.becomes(id, "processing")
	w.Stop()
	if got := d.get(id); got.Status != "completed" || got.Attempt != 1 {
		t.Errorf("after the stop: %+v", got)
	}
}

func TestWorker_ReleasesWhatOutlastsItsShutdownTimeout(t *testing.T) {
	t.Parallel()
	d := deployAll(t)
	w := d.worker("HANDLER=sleep:1h", "SHUTDOWN_TIMEOUT=500ms")
	id := d.submit("an endless one").ID
	d.becomes(id, "processing")
	if status, text := call(t, "http://"+d.addr, http.MethodPatch, "/tasks/"+id, `{"status":"canceled"}`); status != http.StatusConflict || !strings.Contains(text, "processing") {
		t.Errorf("cancel of a running task: %d %s", status, text)
	}
	w.Stop()
	if got := d.get(id); got.Status != "pending" || got.Failures != 0 {
		t.Errorf("after the stop: %+v", got)
	}
	d.worker("HANDLER=noop:")
	if got := d.becomes(id, "completed"); got.Attempt != 2 {
		t.Errorf("attempt %d, not 2", got.Attempt)
	}
}

func TestService_AcceptsTasksWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	redis := services.StartRedis(t)
	d := deploy(t, services.PostgreSQL(t), redis.URL())
	d.worker()
	d.becomes(d.submit("before").ID, "completed")
	redis.Kill()
	begun := time.Now()
	id := d.submit("meanwhile").ID
	if took := time.Since(begun); took > 20*time.Second {
		t.Errorf("the answer took %s", took)
	}
	var health struct{ Status string }
	d.call(http.MethodGet, "/readyz", "", http.StatusOK, &health)
	if health.Status != "degraded" {
		t.Errorf("health is %q, not degraded", health.Status)
	}
	redis.Start()
	d.becomes(id, "completed")
}

func TestPrograms_WaitForPostgreSQL(t *testing.T) {
	t.Parallel()
	server := services.StartPostgreSQL(t)
	url := server.URL("postgres")
	server.Stop(services.StopFast)
	d := &deployment{t: t, env: []string{"DATABASE_URL=" + url, "QUEUE_URL=" + services.Redis(t)}, addr: programs.FreeAddr(t)}
	w := d.worker()
	d.api = d.program("api", "LISTEN_ADDR="+d.addr)
	programs.Eventually(t, programs.Patience, "both say that they wait", func() bool {
		return strings.Contains(w.Output(), `"dependency":"PostgreSQL"`) && strings.Contains(d.api.Output(), `"dependency":"PostgreSQL"`)
	})
	base := "http://" + d.addr
	for path, want := range map[string]int{"/healthz": http.StatusOK, "/readyz": http.StatusServiceUnavailable, "/tasks": http.StatusServiceUnavailable} {
		if status, text := call(t, base, http.MethodGet, path, ""); status != want {
			t.Errorf("%s while it waits: %d, not %d: %s", path, status, want, text)
		}
	}
	server.Start()
	d.ready()
	d.becomes(d.submit("patience").ID, "completed")
}

// Both the programs that migrate and those that wait for the schema end at once.
func TestPrograms_RefuseADatabaseOfAnotherProgram(t *testing.T) {
	t.Parallel()
	url := services.PostgreSQL(t)
	db := sqlx.MustConnect("postgres", url)
	defer func() { _ = db.Close() }()
	db.MustExec("CREATE TABLE tasks (id int)")
	d := &deployment{t: t, env: []string{"DATABASE_URL=" + url, "QUEUE_URL=" + services.Redis(t)}, addr: programs.FreeAddr(t)}
	for name, p := range map[string]*programs.Process{
		"api": d.program("api", "LISTEN_ADDR="+d.addr), "worker": d.worker(),
		"api migrate": programs.Start(t, t.TempDir(), d.env, "api", "migrate"),
	} {
		code, out := p.Wait(programs.Patience), strings.TrimSpace(p.Output())
		last := out[strings.LastIndex(out, "\n")+1:]
		if code == 0 || !strings.Contains(last, "tasks; give Millrace a database or a schema of its own") {
			t.Errorf("%s: exit %d, %s", name, code, out)
		}
	}
}
