package e2e

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/test/programs"
	"github.com/millrace/millrace/test/services"
)

// another starts a second API on the same servers.
func (d *deployment) another() *deployment {
	d.t.Helper()
	other := &deployment{t: d.t, env: d.env, addr: programs.FreeAddr(d.t)}
	other.api = other.program("api", "LISTEN_ADDR="+other.addr)
	other.ready()
	return other
}

// stopTask asks the task to stop and expects that it runs.
func (d *deployment) stopTask(id string) {
	d.t.Helper()
	d.call(http.MethodPatch, "/tasks/"+id, `{"status":"canceled","stop":true}`, http.StatusAccepted, nil)
}

func TestStop_EndsARunningTaskThroughAnotherAPIWithinASecond(t *testing.T) {
	t.Parallel()
	d := deployAll(t)
	other := d.another()
	// The next beat, by which it would learn of the stop without the signal, is minutes away.
	d.worker("HANDLER=sleep:1h", "LEASE_TIMEOUT=1h")
	var id string
	quickest := time.Hour
	for tries := 0; tries < 5 && quickest > time.Second; tries++ { // a busy machine is late now and then
		id = d.submit("an endless one").ID
		d.becomes(id, "processing")
		begun := time.Now()
		other.stopTask(id)
		got := d.becomes(id, "canceled")
		quickest = min(quickest, time.Since(begun))
		if got.Failures != 0 {
			t.Errorf("a stop was charged as a failure: %+v", got)
		}
	}
	t.Logf("canceled after %s", quickest)
	if quickest > time.Second {
		t.Errorf("canceled after %s at best", quickest)
	}
	var attempts struct {
		Attempts []struct {
			Number  int
			Outcome string
		}
	}
	d.call(http.MethodGet, "/tasks/"+id+"/attempts", "", http.StatusOK, &attempts)
	if len(attempts.Attempts) != 1 || attempts.Attempts[0].Outcome != "stopped" {
		t.Errorf("attempts: %+v", attempts.Attempts)
	}
}

func TestStop_WithoutRedisWaitsForTheNextBeat(t *testing.T) {
	t.Parallel()
	redis := services.StartRedis(t)
	d := deploy(t, services.PostgreSQL(t), redis.URL())
	d.worker("HANDLER=sleep:1h", "LEASE_TIMEOUT=10s")
	id := d.submit("an endless one").ID
	d.becomes(id, "processing")
	redis.Kill()
	d.stopTask(id)
	d.becomes(id, "canceled") // a beat is a second apart
}

func TestStop_HoldsThoughTheWorkerDies(t *testing.T) {
	t.Parallel()
	d := deployAll(t, "LEASE_TIMEOUT=2s")
	w := d.worker("HANDLER=sleep:1h")
	id := d.submit("an endless one").ID
	d.becomes(id, "processing")
	w.Kill()
	d.stopTask(id)
	d.worker("HANDLER=log:") // would complete it, were it to run again
	d.becomes(id, "canceled")
}

// A program that exits with 0 on SIGTERM may not have finished its work.
func TestStop_IsNotTakenForSuccess(t *testing.T) {
	t.Parallel()
	d := deployAll(t)
	w := d.worker("HANDLER=exec:/bin/sh -c \"trap 'exit 0' TERM; while :; do sleep 0.1; done\"", "SHUTDOWN_TIMEOUT=500ms")
	stopped, interrupted := d.submit("to be stopped").ID, d.submit("to be interrupted").ID
	d.becomes(stopped, "processing")
	d.becomes(interrupted, "processing")
	d.stopTask(stopped)
	d.becomes(stopped, "canceled")
	w.Stop()
	if got := d.get(interrupted); got.Status != "pending" || got.Failures != 0 {
		t.Errorf("after the worker has stopped: %+v", got)
	}
}

func TestStop_LosesAgainstAHandlerThatHasFinished(t *testing.T) {
	t.Parallel()
	d := deployAll(t)
	d.worker("HANDLER=noop:")
	id := d.submit("a quick one").ID
	d.becomes(id, "completed")
	d.call(http.MethodPatch, "/tasks/"+id, `{"status":"canceled","stop":true}`, http.StatusConflict, nil)
}

func TestWait_AThousandWaitersCostFewStatements(t *testing.T) {
	t.Parallel()
	database := services.StartPostgreSQL(t, services.PostgresConf("log_statement = 'all'"))
	d := deploy(t, database.URL("postgres"), services.Redis(t))
	id := d.submit("what all wait for").ID
	statements := func() int { return len(statement.FindAllString(database.Log(), -1)) }

	before := statements()
	w := waiters{d: d, id: id}
	// They come a few at a time, and those that have come within 20 s do: each waits for 60 s.
	for begun := time.Now(); w.n < 1000 && time.Since(begun) < 20*time.Second; {
		w.come(50)
		programs.Eventually(t, programs.Patience, "all have come", func() bool { return statements()-before >= w.n })
	}
	time.Sleep(3 * time.Second) // in which the record is looked at
	arrived := statements() - before
	late := max(1500*time.Millisecond, 100*d.roundTrip(id)) // sooner than the poll that needs no signal, unless the machine is slow
	before += 10                                            // of the round trips
	d.worker("HANDLER=noop:")
	w.waiting.Wait()
	answered := statements() - before - arrived // the start of the worker and its work included
	finished, err := time.Parse(time.RFC3339Nano, d.get(id).UpdatedAt)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d waiters: %d statements to arrive and wait, %d until all were answered, the first %s after the end of the task",
		w.n, arrived, answered, w.first.Sub(finished).Round(time.Millisecond))
	// The others take as long as so many answers.
	if after := w.first.Sub(finished); after > late {
		t.Errorf("the first answer came %s after the end of the task: the hint was not heard", after)
	}
	// Each reads its task once when it comes; from then on all are one.
	if arrived < w.n || arrived > w.n+50 || answered > 100 {
		t.Errorf("%d and %d statements for %d waiters", arrived, answered, w.n)
	}
}

// waiters are requests that wait for the end of a task.
type waiters struct {
	d       *deployment
	id      string
	n       int
	waiting sync.WaitGroup
	mu      sync.Mutex
	first   time.Time // that was answered
}

// come sends n more.
func (w *waiters) come(n int) {
	w.n += n
	for range n {
		w.waiting.Go(func() {
			status, text := call(w.d.t, "http://"+w.d.addr, http.MethodGet, "/tasks/"+w.id+"?wait=60", "")
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.first.IsZero() {
				w.first = time.Now()
			}
			if status != http.StatusOK || !isCompleted(text) {
				w.d.t.Errorf("%d %s", status, text)
			}
		})
	}
}

// roundTrip is how long the slowest of some reads of the task took on this machine, now.
func (d *deployment) roundTrip(id string) (slowest time.Duration) {
	d.t.Helper()
	for range 10 {
		begun := time.Now()
		d.get(id)
		slowest = max(slowest, time.Since(begun))
	}
	return slowest
}

func isCompleted(text string) bool { return decoded(text).Status == "completed" }

func TestWait_AnswersAChangeToWhoeverHasTheLast(t *testing.T) {
	t.Parallel()
	d := deployAll(t)
	id := d.submit("to be canceled").ID
	changed := make(chan string, 1)
	go func() {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://%s/tasks/%s?wait=30", d.addr, id), nil)
		if err != nil {
			changed <- err.Error()
			return
		}
		req.Header.Set("If-None-Match", `"1"`)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			changed <- err.Error()
			return
		}
		defer res.Body.Close()
		changed <- res.Header.Get("ETag")
	}()
	time.Sleep(200 * time.Millisecond) // so that it waits
	d.call(http.MethodPatch, "/tasks/"+id, `{"status":"canceled"}`, http.StatusOK, nil)
	select {
	case etag := <-changed:
		if etag != `"2"` {
			t.Errorf("got %s", etag)
		}
	case <-time.After(20 * time.Second): // it waits for thirty
		t.Error("no answer")
	}
}

func TestWait_DoesNotHoldUpAStop(t *testing.T) {
	t.Parallel()
	d := deployAll(t)
	id := d.submit("nobody runs it").ID
	answered := make(chan int, 1)
	go func() {
		status, _ := call(t, "http://"+d.addr, http.MethodGet, "/tasks/"+id+"?wait=60", "")
		answered <- status
	}()
	time.Sleep(200 * time.Millisecond) // so that it waits
	begun := time.Now()
	d.api.Stop()
	if took := time.Since(begun); took > 40*time.Second {
		t.Errorf("the stop took %s", took)
	}
	if status := <-answered; status != http.StatusOK {
		t.Errorf("the waiter got %d", status)
	}
}
