package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/test/programs"
	"github.com/millrace/millrace/test/services"
)

// readiness is the status with which a program answers /readyz.
func readiness(t *testing.T, addr string) int {
	t.Helper()
	status, _ := call(t, "http://"+addr, http.MethodGet, "/readyz", "")
	return status
}

// complaints counts the lines of a level or worse in the program's log, by message.
func complaints(p *programs.Process, levels ...string) map[string]int {
	n := map[string]int{}
	for line := range strings.Lines(p.Output()) {
		var entry struct{ Level, Msg, Loop, Call, Check string }
		if json.Unmarshal([]byte(line), &entry) != nil {
			continue
		}
		for _, level := range levels {
			if entry.Level == level {
				n[strings.TrimSpace(entry.Loop+entry.Call+entry.Check+" "+entry.Msg)]++
			}
		}
	}
	return n
}

// overs are the messages that a failure has begun, with the ends of those that it is over.
var overs = map[string]string{
	"readiness check failing":                                            "readiness check succeeds again",
	"signals cannot be published and are dropped":                        "signals can be published again",
	"the database's clock cannot be read: its last reading stays in use": "the database's clock can be read again",
}

// overOf is the message that the failure is over, and whether the message tells of one.
func overOf(message string) (over string, ok bool) {
	for begun, over := range overs {
		if what, ok := strings.CutSuffix(message, begun); ok {
			return what + over, true
		}
	}
	what, _, ok := strings.Cut(message, " failing, ")
	return what + " working again", ok
}

// wantOneLineEach fails the test if the program has logged a failure twice, or not logged
// that it works again. A readiness check also fails while the program waits for the schema.
func wantOneLineEach(t *testing.T, p *programs.Process, failing string) {
	t.Helper()
	told := complaints(p, "WARN", "ERROR", "INFO")
	if told[failing] == 0 {
		t.Errorf("it does not log %q: %v", failing, told)
	}
	for message, n := range complaints(p, "WARN", "ERROR") {
		if strings.HasPrefix(message, "a crash of the database's machine") { // the tests' server does not flush
			continue
		}
		over, ok := overOf(message)
		if n > 1 && !strings.Contains(message, "readiness check") || !ok || told[over] != n {
			t.Errorf("%d lines say %q, and %d that it works again: %v", n, message, told[over], told)
		}
	}
}

func TestWorker_IsUnreadyWhileRedisIsAwayForLong(t *testing.T) {
	t.Parallel()
	redis := services.StartRedis(t)
	d := deploy(t, services.PostgreSQL(t), redis.URL())
	admin := programs.FreeAddr(t)
	w := d.worker("ADMIN_ADDR=" + admin)
	programs.WaitReady(t, admin)
	d.becomes(d.submit("before").ID, "completed")

	redis.Kill()
	if got := readiness(t, admin); got != http.StatusOK {
		t.Errorf("at once: %d", got)
	}
	programs.Eventually(t, programs.Patience, "the worker is unready", func() bool {
		return readiness(t, admin) == http.StatusServiceUnavailable
	})
	redis.Start()
	programs.WaitReady(t, admin)
	d.becomes(d.submit("after").ID, "completed")
	programs.Eventually(t, programs.Patience, "it has told that all works", func() bool { return toldOfAll(w) })
	wantOneLineEach(t, w, "pull loop failing, retrying")
}

func TestService_SaysThatPostgreSQLIsAwayAndRecovers(t *testing.T) {
	t.Parallel()
	database := services.StartPostgreSQL(t)
	d := deploy(t, database.URL("postgres"), services.Redis(t))
	admin := programs.FreeAddr(t)
	w := d.worker("ADMIN_ADDR=" + admin)
	programs.WaitReady(t, admin)
	before := d.submit("before").ID
	d.becomes(before, "completed")

	database.Stop(services.StopImmediate)
	programs.Eventually(t, programs.Patience, "both are unready", func() bool {
		return readiness(t, admin) == http.StatusServiceUnavailable && readiness(t, d.addr) == http.StatusServiceUnavailable
	})
	for range 5 {
		for _, c := range []struct{ method, path, body string }{
			{http.MethodPost, "/tasks", `{"message":"meanwhile"}`},
			{http.MethodGet, "/tasks", ""},
			{http.MethodGet, "/tasks/" + before, ""},
			{http.MethodPatch, "/tasks/" + before, `{"status":"canceled"}`},
		} {
			d.wantSweepedAway(c.method, c.path, c.body, "/problems/unavailable")
		}
	}
	d.call(http.MethodGet, "/healthz", "", http.StatusOK, nil)
	time.Sleep(7 * time.Second) // for the loops to try several times, the beat every three seconds

	database.Start()
	d.ready()
	programs.WaitReady(t, admin)
	d.becomes(d.submit("after").ID, "completed")
	programs.Eventually(t, programs.Patience, "both have told that all works", func() bool {
		d.call(http.MethodPost, "/tasks", `{"message":"again"}`, http.StatusCreated, nil)
		d.call(http.MethodGet, "/tasks", "", http.StatusOK, nil)
		_, _ = call(t, "http://"+d.addr, http.MethodPatch, "/tasks/"+before, `{"status":"canceled"}`)
		return toldOfAll(w) && toldOfAll(d.api)
	})
	wantOneLineEach(t, w, "heartbeat loop failing, retrying")
	wantOneLineEach(t, d.api, "submit store failing, answering 503")
}

// toldOfAll reports whether the program has logged of each failure that it is over.
func toldOfAll(p *programs.Process) bool {
	told := complaints(p, "WARN", "INFO")
	for message, n := range told {
		if over, ok := overOf(message); ok && told[over] != n {
			return false
		}
	}
	return true
}

// wantSweepedAway makes a request and expects 503 with Retry-After.
func (d *deployment) wantSweepedAway(method, path, body, problem string) {
	d.t.Helper()
	req, err := http.NewRequestWithContext(d.t.Context(), method, "http://"+d.addr+path, strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		d.t.Errorf("%s %s: %v", method, path, err)
		return
	}
	defer res.Body.Close()
	var got struct{ Type string }
	err = json.NewDecoder(res.Body).Decode(&got)
	if err != nil || res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" || got.Type != problem {
		d.t.Errorf("%s %s: %s, Retry-After %q, %+v %v", method, path, res.Status, res.Header.Get("Retry-After"), got, err)
	}
}

// residentMiB is the memory that the process holds.
func residentMiB(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kib / 1024
}

func TestAPI_TurnsAwayWhatAStalledPostgreSQLCannotTake(t *testing.T) {
	t.Parallel()
	const waiting, clients = 40, 400
	link := newLink(t, services.PostgreSQL(t))
	d := deploy(t, link.url, services.Redis(t), fmt.Sprintf("MAX_WAITING_REQUESTS=%d", waiting))
	d.submit("before")
	memory := residentMiB(t, d.api.PID())

	link.stalled.Store(true)
	body, err := json.Marshal(map[string]string{"message": strings.Repeat("x", 200<<10)})
	if err != nil {
		t.Fatal(err)
	}
	type outcome struct {
		kind string
		took time.Duration
	}
	outcomes := make(chan outcome, clients)
	begun := time.Now()
	var posting sync.WaitGroup
	for range clients {
		posting.Go(func() {
			begun := time.Now()
			res, err := http.Post("http://"+d.addr+"/tasks", "application/json", bytes.NewReader(body))
			if err != nil {
				t.Error(err)
				return
			}
			defer res.Body.Close()
			var problem struct{ Type string }
			err = json.NewDecoder(res.Body).Decode(&problem)
			if err != nil || res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" {
				t.Errorf("%s, %+v, %v", res.Status, problem, err)
			}
			outcomes <- outcome{problem.Type, time.Since(begun)}
		})
	}
	posting.Wait()
	close(outcomes)
	kinds := map[string]int{}
	var away []time.Duration // of those that were turned away
	for o := range outcomes {
		if kinds[o.kind]++; o.kind == "/problems/overloaded" {
			away = append(away, o.took)
		}
	}
	// A place is taken for as long as the store is waited for. The requests come at
	// once, but a slow machine may take longer to read them.
	most := waiting * (1 + int(time.Since(begun)/callTimeout))
	waited, turned := kinds["/problems/unavailable"], kinds["/problems/overloaded"]
	if waited < waiting || waited > most || turned == 0 || waited+turned != clients {
		t.Errorf("answers: %v, want %d to %d that waited", kinds, waiting, most)
	}
	if slices.Sort(away); len(away) > 0 && away[len(away)/2] > callTimeout-time.Second {
		t.Errorf("half of those turned away waited for %s and longer", away[len(away)/2])
	}
	if grown := residentMiB(t, d.api.PID()) - memory; grown > 200 {
		t.Errorf("%d MiB more than before", grown)
	}
	d.call(http.MethodGet, "/healthz", "", http.StatusOK, nil)

	link.stalled.Store(false)
	d.ready()
	d.submit("after")
}
