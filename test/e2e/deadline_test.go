package e2e

import (
	"database/sql"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/test/programs"
	"github.com/millrace/millrace/test/services"
)

// callTimeout is the deadline of the programs for every call to a server.
const callTimeout = 5 * time.Second

// answered is an answer and how long it took.
type answered struct {
	status     int
	retryAfter string
	took       time.Duration
}

// post submits a task and says what came of it.
func (d *deployment) post(message string) answered {
	begun := time.Now()
	res, err := http.Post("http://"+d.addr+"/tasks", "application/json", strings.NewReader(`{"message":"`+message+`"}`)) // its bound is what is tested
	if err != nil {
		d.t.Errorf("POST /tasks: %v", err)
		return answered{}
	}
	defer res.Body.Close()
	return answered{res.StatusCode, res.Header.Get("Retry-After"), time.Since(begun)}
}

func TestAPI_FreesItsCallersWhenTheLinkToPostgreSQLIsStalled(t *testing.T) {
	t.Parallel()
	database := services.PostgreSQL(t)
	l := newLink(t, database)
	d := deploy(t, l.url, services.Redis(t))
	d.submit("before")

	l.stalled.Store(true)
	var callers sync.WaitGroup
	for i := range 15 { // more than there are connections
		callers.Go(func() {
			if got := d.post(fmt.Sprint("stalled ", i)); got.status != http.StatusServiceUnavailable || got.retryAfter == "" || got.took > callTimeout+time.Minute {
				t.Errorf("on a stalled link: %+v", got)
			}
		})
	}
	callers.Wait()
	if status, _ := call(t, "http://"+d.addr, http.MethodGet, "/readyz", ""); status != http.StatusServiceUnavailable {
		t.Errorf("/readyz says %d", status)
	}

	l.stalled.Store(false)
	d.ready()
	d.submit("after")
	d.worker("HANDLER=noop:")
	programs.Eventually(t, programs.Patience, "all that is stored is completed", func() bool { return d.count("pending")+d.count("processing") == 0 })
}

func TestAPI_AcceptsTasksInTimeWhenTheLinkToRedisIsStalled(t *testing.T) {
	t.Parallel()
	server := services.StartRedis(t)
	l := newLink(t, server.URL())
	d := deploy(t, services.PostgreSQL(t), l.url)
	d.submit("before")

	l.stalled.Store(true)
	var callers sync.WaitGroup
	for i := range 15 {
		callers.Go(func() {
			if got := d.post(fmt.Sprint("stalled ", i)); got.status != http.StatusCreated || got.took > time.Minute {
				t.Errorf("on a stalled link: %+v", got)
			}
		})
	}
	callers.Wait()

	l.stalled.Store(false)
	d.worker("HANDLER=noop:")
	programs.Eventually(t, programs.Patience, "all tasks are completed", func() bool { return d.count("completed") == 16 })
}

func TestWorker_BehindASlowLinkKeepsItsTaskUntilItsLeaseLapses(t *testing.T) {
	t.Parallel()
	const lease = 6 * time.Second
	database := services.PostgreSQL(t)
	l := newLink(t, database)
	d := deploy(t, database, services.Redis(t), "LEASE_TIMEOUT="+lease.String(), "MAX_ATTEMPTS=1")
	slow := d.worker("HANDLER=sleep:1h", "WORKER_QUEUE_MAXSIZE=1", "DATABASE_URL="+l.url)
	id := d.submit("behind a link").ID
	d.becomes(id, "processing")
	d.worker("HANDLER=noop:")
	for range 4 { // beats are late, and take nothing
		l.stalled.Store(true)
		time.Sleep(lease / 2)
		l.stalled.Store(false)
		time.Sleep(lease / 5)
	}
	if got := d.get(id); got.Attempt != 1 || got.Status != "processing" {
		t.Errorf("while beats are late: %+v", got)
	}
	l.stalled.Store(true)
	if got := d.becomes(id, "completed"); got.Attempt != 2 || got.Failures != 0 {
		t.Errorf("when they do not come: %+v", got)
	}
	l.stalled.Store(false)
	programs.Eventually(t, programs.Patience, "the slow worker says that the attempt was lost", func() bool { return strings.Contains(slow.Output(), outcomeLost) })
}

// backends are the processes that serve the programs.
func backends(t *testing.T, db *sql.DB) map[int]bool {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), "SELECT pid FROM pg_stat_activity WHERE application_name = 'millrace'")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	pids := map[int]bool{}
	for rows.Next() {
		var pid int
		if err := rows.Scan(&pid); err != nil {
			t.Fatal(err)
		}
		pids[pid] = true
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return pids
}

func TestPrograms_ThrowAwayConnectionsToAServerThatHasBecomeReadOnly(t *testing.T) {
	t.Parallel()
	server := services.StartPostgreSQL(t)
	d := deploy(t, server.URL("postgres"), services.Redis(t))
	d.worker()
	d.submitMany(20) // on several connections
	db, err := sql.Open("postgres", server.URL("postgres")+"&default_transaction_read_only=off")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	set := func(value string) {
		for _, statement := range []string{"ALTER SYSTEM SET default_transaction_read_only = " + value, "SELECT pg_reload_conf()"} {
			if _, err := db.ExecContext(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
		}
	}
	before := backends(t, db)
	set("on")
	programs.Eventually(t, programs.Patience, "the server refuses writes", func() bool {
		return d.post("refused").status == http.StatusServiceUnavailable
	})
	for range 3 {
		if got := d.post("refused"); got.status != http.StatusServiceUnavailable || got.retryAfter == "" {
			t.Errorf("of a read-only server: %+v", got)
		}
	}
	programs.Eventually(t, programs.Patience, "no connection from before is left", func() bool {
		_ = d.post("refused") // a connection that was in use is found by its next write
		for pid := range backends(t, db) {
			if before[pid] {
				return false
			}
		}
		return true
	})
	set("off")
	programs.Eventually(t, programs.Patience, "tasks are accepted again", func() bool { return d.post("accepted").status == http.StatusCreated })
	programs.Eventually(t, programs.Patience, "and completed", func() bool { return d.count("pending")+d.count("processing") == 0 })
}
