package e2e

import (
	"database/sql"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/test/programs"
	"github.com/millrace/millrace/test/services"
)

// full makes the tests of scale as large as they were first shown to hold: make scale.
var full = flag.Bool("e2e.full", false, "a million tasks, ten thousand delayed ones, a minute of watching")

// scaled is the full size with -e2e.full, otherwise one that fits among other tests.
func scaled[T any](whole, part T) T {
	if *full {
		return whole
	}
	return part
}

// open connects to the deployment's database.
func open(t *testing.T, url string) *sql.DB {
	t.Helper()
	db, err := sql.Open("postgres", url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// batch submits n tasks of which each is the JSON object.
func (d *deployment) batch(n int, object string) {
	d.t.Helper()
	for ; n > 0; n -= 1000 {
		body := `{"tasks":[` + strings.TrimSuffix(strings.Repeat(object+",", min(n, 1000)), ",") + `]}`
		d.call(http.MethodPost, "/tasks/batch", body, http.StatusCreated, nil)
	}
}

// seconds asks the database for one number, such as an interval.
func seconds(t *testing.T, db *sql.DB, query string, args ...any) float64 {
	t.Helper()
	var s sql.NullFloat64
	if err := db.QueryRowContext(t.Context(), query, args...).Scan(&s); err != nil {
		t.Fatal(err)
	}
	return s.Float64
}

func TestQueues_ALongOneDoesNotDelayAnother(t *testing.T) {
	t.Parallel()
	waiting := scaled(1_000_000, 20_000)
	database := services.PostgreSQL(t)
	d := deploy(t, database, services.Redis(t))
	d.batch(waiting, `{"message":"one of very many","queue":"bulk"}`)
	d.worker("QUEUES=bulk,mail", "HANDLER=sleep:10ms", "WORKER_QUEUE_MAXSIZE=20")
	db := open(t, database)
	programs.Eventually(t, programs.Patience, "the long queue runs", func() bool {
		return seconds(t, db, "SELECT count(*) FROM tasks WHERE queue = 'bulk' AND status = 'completed'") > 100
	})
	d.batch(10, `{"message":"one of ten","queue":"mail"}`)
	programs.Eventually(t, programs.Patience, "the other queue is empty", func() bool {
		return seconds(t, db, "SELECT count(*) FROM tasks WHERE queue = 'mail' AND status = 'completed'") == 10
	})
	late := seconds(t, db, "SELECT extract(epoch FROM max(started_at - created_at)) FROM tasks WHERE queue = 'mail'")
	left := seconds(t, db, "SELECT count(*) FROM tasks WHERE queue = 'bulk' AND status = 'pending'")
	// What the worker does in a second at most: how long that takes is the machine's affair.
	const second = 2000
	ahead := seconds(t, db, `SELECT count(*) FROM tasks WHERE queue = 'bulk'
		AND started_at BETWEEN (SELECT min(created_at) FROM tasks WHERE queue = 'mail') AND (SELECT max(started_at) FROM tasks WHERE queue = 'mail')`)
	t.Logf("the last of ten started after %.3f s, when %.0f of the long queue had, with %.0f of it waiting", late, ahead, left)
	if ahead > second || left < 1000 {
		t.Errorf("the last of ten started after %.3f s, when %.0f of the long queue had, with %.0f of it waiting", late, ahead, left)
	}
}

func TestQueues_MaxRunningIsNeverExceededThoughAWorkerIsKilled(t *testing.T) {
	t.Parallel()
	const limit = 7
	period := scaled(time.Minute, 8*time.Second)
	database := services.PostgreSQL(t)
	d := deploy(t, database, services.Redis(t), leaseEnv)
	d.call(http.MethodPatch, "/queues/default", fmt.Sprintf(`{"max_running":%d}`, limit), http.StatusOK, nil)
	d.batch(int(period.Seconds())*200, `{"message":"at most seven at once"}`)
	worker := func() *programs.Process { return d.worker("HANDLER=sleep:50ms", "WORKER_QUEUE_MAXSIZE=20") }
	victim := worker()
	worker()
	worker()

	db := open(t, database)
	// What the dead worker held counts until it is rescued; before it died, at least,
	// there was always room for the next.
	least := 0.4 * limit * period.Seconds() / 4 / 0.05
	most, samples, done, killed := 0, 0, 0.0, false
	begun := time.Now()
	// A slow machine is watched for longer, until it has shown as much.
	shown := func() bool { return killed && most >= limit-1 && samples >= 100 && done >= least }
	for time.Since(begun) < period || !shown() && time.Since(begun) < period+programs.Patience {
		n := int(seconds(t, db, "SELECT count(*) FROM tasks WHERE status = 'processing'"))
		most, samples = max(most, n), samples+1
		if !killed && time.Since(begun) > period/4 {
			victim.Kill()
			killed = true
		}
		done = seconds(t, db, "SELECT count(*) FROM tasks WHERE status = 'completed'")
	}
	t.Logf("%d samples within %s, at most %d of %d at once, %.0f completed", samples, time.Since(begun), most, limit, done)
	if most > limit || !shown() {
		t.Errorf("%d of %d at once, in %d samples; %.0f tasks completed, want at least %.0f", most, limit, samples, done, least)
	}
}

func TestQueues_PausedAndUnpausedWithinASecond(t *testing.T) {
	t.Parallel()
	database := services.PostgreSQL(t)
	d := deploy(t, database, services.Redis(t))
	d.worker("HANDLER=sleep:5ms", "WORKER_QUEUE_MAXSIZE=5")
	d.worker("HANDLER=sleep:5ms", "WORKER_QUEUE_MAXSIZE=5")
	d.batch(20_000, `{"message":"stop and go"}`)
	db := open(t, database)
	completed := func() float64 { return seconds(t, db, "SELECT count(*) FROM tasks WHERE status = 'completed'") }
	programs.Eventually(t, programs.Patience, "they run", func() bool { return completed() > 50 })

	d.call(http.MethodPatch, "/queues/default", `{"paused":true}`, http.StatusOK, nil)
	holds := time.Now().Add(time.Second) // from then on
	d.submit("is accepted all the same")
	time.Sleep(3 * time.Second)
	if n := seconds(t, db, "SELECT count(*) FROM tasks WHERE started_at > $1", holds); n > 0 {
		t.Errorf("%.0f tasks began while the queue was paused", n)
	}
	ended := time.Now()
	d.call(http.MethodPatch, "/queues/default", `{"paused":false}`, http.StatusOK, nil)
	programs.Eventually(t, programs.Patience, "they run again", func() bool {
		return seconds(t, db, "SELECT count(*) FROM tasks WHERE started_at > $1", ended) > 0
	})
	// A second, and some for a busy machine: less than until a lost entry is looked for.
	late := seconds(t, db, "SELECT extract(epoch FROM min(started_at) - $1) FROM tasks WHERE started_at > $1", ended)
	t.Logf("they run again after %.3f s", late)
	if late > 4 {
		t.Errorf("nothing ran until %.3f s after the pause", late)
	}
}

func TestQueues_ARateHoldsForAllWorkers(t *testing.T) {
	t.Parallel()
	const rate, watched = 100, 5
	database := services.PostgreSQL(t)
	d := deploy(t, database, services.Redis(t))
	d.call(http.MethodPatch, "/queues/default", `{"rate":"100/s"}`, http.StatusOK, nil)
	d.batch(2000, `{"message":"one at a time"}`)
	d.worker("HANDLER=noop:")
	d.worker("HANDLER=noop:")
	db := open(t, database)
	started := func() float64 { return seconds(t, db, "SELECT count(*) FROM tasks WHERE started_at IS NOT NULL") }
	programs.Eventually(t, programs.Patience, "the burst is over", func() bool { return started() > rate })
	time.Sleep(watched * time.Second)
	programs.Eventually(t, programs.Patience, "they go on starting", func() bool { return started() >= rate*(watched-1) })
	// Over any second at most the burst, which is a second's worth, and the rate.
	worst := seconds(t, db, `SELECT max(n) FROM (SELECT count(*) OVER (ORDER BY started_at
		RANGE BETWEEN CURRENT ROW AND interval '1 second' FOLLOWING) AS n FROM tasks WHERE started_at IS NOT NULL) AS windows`)
	total := started()
	t.Logf("%.0f started, at most %.0f within a second", total, worst)
	if worst > 2*rate+1 {
		t.Errorf("%.0f tasks started within a second", worst)
	}
}

func TestSchedule_DelayedTasksStartWithinASecondOfTheirTime(t *testing.T) {
	t.Parallel()
	tasks := scaled(10_000, 1000)
	database := services.PostgreSQL(t)
	d := deploy(t, database, services.Redis(t))
	d.worker("HANDLER=noop:", "WORKER_QUEUE_MAXSIZE=500")
	d.worker("HANDLER=noop:", "WORKER_QUEUE_MAXSIZE=500")
	at := time.Now().Add(10 * time.Second).UTC().Format(time.RFC3339Nano)
	d.batch(tasks, `{"message":"later","run_at":"`+at+`"}`)
	db := open(t, database)
	if n := seconds(t, db, "SELECT count(*) FROM tasks WHERE queued_at IS NOT NULL OR status <> 'pending'"); n != 0 {
		t.Errorf("%.0f tasks did not wait in PostgreSQL", n)
	}
	programs.Eventually(t, programs.Patience, "all have run", func() bool {
		return int(seconds(t, db, "SELECT count(*) FROM tasks WHERE status = 'completed'")) == tasks
	})
	early := seconds(t, db, "SELECT count(*) FROM tasks WHERE started_at < run_at")
	first := seconds(t, db, "SELECT extract(epoch FROM min(started_at - run_at)) FROM tasks")
	late := seconds(t, db, "SELECT extract(epoch FROM max(started_at - run_at)) FROM tasks")
	t.Logf("of %d the first started %.3f s after its time, the last %.3f s", tasks, first, late)
	// The first starts when their time is noticed: within a second, and some for a busy
	// machine. From there to the last it is what the machine needs for as many.
	if early != 0 || first > 3 || late > first+programs.Patience.Seconds() {
		t.Errorf("%.0f of %d started too early, the first %.3f s after its time, the last %.3f s", early, tasks, first, late)
	}
}

func TestPriority_IsStrictWithinAQueue(t *testing.T) {
	t.Parallel()
	database := services.PostgreSQL(t)
	d := deploy(t, database, services.Redis(t))
	for _, priority := range []int{0, 9, 3, 0, 9, 3} {
		d.batch(20, fmt.Sprintf(`{"message":"in order","priority":%d}`, priority))
	}
	d.worker("HANDLER=noop:", "WORKER_QUEUE_MAXSIZE=1")
	programs.Eventually(t, programs.Patience, "all have run", func() bool { return d.count("completed") == 120 })
	db := open(t, database)
	if n := seconds(t, db, `SELECT count(*) FROM tasks AS a JOIN tasks AS b ON a.started_at < b.started_at AND a.priority < b.priority`); n != 0 {
		t.Errorf("%.0f pairs of tasks started in the wrong order", n)
	}
}

func TestHandlers_EachQueueHasItsOwn(t *testing.T) {
	t.Parallel()
	d := deployAll(t)
	d.worker("QUEUES=default,mail=2", "HANDLER=noop:", "HANDLERS=mail=exec:printf %s done-by-mail")
	submit := func(body string) string {
		var got task
		d.call(http.MethodPost, "/tasks", body, http.StatusCreated, &got)
		return got.ID
	}
	mail, rest, other := submit(`{"message":"a","queue":"mail"}`), submit(`{"message":"b"}`), submit(`{"message":"c","queue":"nobody-takes-it"}`)
	if got := d.becomes(mail, "completed"); got.Result != "done-by-mail" {
		t.Errorf("the result is %q", got.Result)
	}
	if got := d.becomes(rest, "completed"); got.Result != "" {
		t.Errorf("the result is %q", got.Result)
	}
	var why struct {
		Reasons []struct{ Reason, Text string }
	}
	d.call(http.MethodGet, "/tasks/"+other+"/explain", "", http.StatusOK, &why)
	if text, _ := json.Marshal(why); !strings.Contains(string(text), "no_worker") {
		t.Errorf("why a task does not run that no worker takes: %s", text)
	}
}

// explanation is why the task does not run.
func (d *deployment) explanation(id string) string {
	d.t.Helper()
	var why struct {
		Reasons []struct{ Text string }
	}
	d.call(http.MethodGet, "/tasks/"+id+"/explain", "", http.StatusOK, &why)
	texts := make([]string, len(why.Reasons))
	for i, reason := range why.Reasons {
		texts[i] = reason.Text
	}
	return strings.Join(texts, " ")
}

func (d *deployment) submitTo(queue string) string {
	d.t.Helper()
	var got task
	d.call(http.MethodPost, "/tasks", fmt.Sprintf(`{"message":"m","queue":%q}`, queue), http.StatusCreated, &got)
	return got.ID
}

func TestExplain_SaysThatAllSlotsOfTheQueueAreInUse(t *testing.T) {
	t.Parallel()
	d := deployAll(t)
	d.worker("QUEUES=a,b", "HANDLER=exec:sleep 600", "WORKER_QUEUE_MAXSIZE=3", "LEASE_TIMEOUT=10s")
	for range 3 {
		d.submitTo("a")
	}
	waits := d.submitTo("a")
	explained := func(id, want string) {
		t.Helper()
		got := ""
		programs.Eventually(t, programs.Patience, "explain says: "+want, func() bool {
			got = d.explanation(id)
			return strings.Contains(got, want)
		})
	}
	explained(waits, "All 2 slots that this queue may use of the 1 worker that takes it are in use (kept for others: 1).")
	runs := d.submitTo("b") // has the slot that is kept
	d.becomes(runs, "processing")
	explained(waits, "All 3 slots of the 1 worker that takes this queue are in use.")
	explained(d.submitTo("b"), "All 3 slots of the 1 worker that takes this queue are in use.")
}

func TestExplain_SaysThatRedisIsFull(t *testing.T) {
	t.Parallel()
	server := services.StartRedis(t)
	d := deploy(t, services.PostgreSQL(t), server.URL())
	d.worker("HANDLER=noop:")
	if _, err := dialRedis(t, server).Do("CONFIG", "SET", "maxmemory", "1"); err != nil {
		t.Fatal(err)
	}
	id := d.submit("waits").ID
	if got := d.explanation(id); !strings.Contains(got, "Redis refuses: OOM") || d.get(id).Status != "pending" {
		t.Errorf("why a task waits while Redis is full: %s", got)
	}
	if _, err := dialRedis(t, server).Do("CONFIG", "SET", "maxmemory", "0"); err != nil {
		t.Fatal(err)
	}
	d.becomes(id, "completed")
}
