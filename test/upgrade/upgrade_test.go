//go:build upgrade

package upgrade

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/millrace/millrace/test/programs"
	"github.com/millrace/millrace/test/services"
)

func TestMain(m *testing.M) { os.Exit(programs.Main(m)) }

// The two sides.
const (
	older = "older"
	newer = "newer"
)

// cluster is what both sides share.
type cluster struct {
	t        *testing.T
	bin      map[string]string // by side: the folder of its programs
	env      []string
	receiver *receiver
}

func (c *cluster) start(side, program string, env []string, args ...string) *programs.Process {
	c.t.Helper()
	return programs.StartFile(c.t, c.t.TempDir(), append(env, c.env...), filepath.Join(c.bin[side], program), args...)
}

// pair is an API and a worker of one side.
type pair struct {
	*api
	worker *programs.Process
	admin  string
}

// startPair starts both and waits until they are ready.
func (c *cluster) startPair(side string, env ...string) *pair {
	c.t.Helper()
	p := &pair{api: &api{t: c.t, name: side, addr: programs.FreeAddr(c.t)}, admin: programs.FreeAddr(c.t)}
	p.Process = c.start(side, "api", append(env, "LISTEN_ADDR="+p.addr))
	p.worker = c.start(side, "worker", []string{
		"ADMIN_ADDR=" + p.admin, "QUEUES=default,mail", "HANDLER=" + c.receiver.URL + "/" + side, "WORKER_QUEUE_MAXSIZE=10",
	})
	programs.WaitReady(c.t, p.addr)
	programs.WaitReady(c.t, p.admin)
	return p
}

// expectReady expects that API and worker say ready, and not merely degraded.
func (p *pair) expectReady() {
	p.t.Helper()
	for _, addr := range []string{p.addr, p.admin} {
		res, err := http.Get("http://" + addr + "/readyz")
		if err != nil {
			p.t.Error(err)
			continue
		}
		var health struct{ Status string }
		if err := json.NewDecoder(res.Body).Decode(&health); err != nil || health.Status != "ready" {
			p.t.Errorf("/readyz of %s at %s: %d %q %v", p.name, addr, res.StatusCode, health.Status, err)
		}
		res.Body.Close()
	}
}

// stop ends both by SIGTERM.
func (p *pair) stop() {
	p.t.Helper()
	p.worker.Stop()
	p.Stop()
}

// The order of docs/upgrading.md, under load all the time, and back again.
func TestUpgrade_OlderAndNewerRunSideBySideAndBack(t *testing.T) {
	c := &cluster{
		t:        t,
		bin:      map[string]string{older: buildOlder(t), newer: filepath.Dir(programs.Path("api"))},
		env:      []string{"DATABASE_URL=" + services.PostgreSQL(t), "QUEUE_URL=" + services.Redis(t)},
		receiver: newReceiver(t),
	}
	before := c.startPair(older)
	load, stopLoad := startLoad(t)
	load.use(before.api)
	load.more(c.receiver, 50, route{older, older})

	if migrate := c.start(newer, "api", nil, "migrate"); migrate.Wait(programs.Patience) != 0 {
		t.Fatal("api migrate failed")
	}
	load.more(c.receiver, 50, route{older, older})
	before.expectReady()

	after := c.startPair(newer, "MIGRATE_ON_START=false")
	load.use(before.api, after.api)
	load.more(c.receiver, 25, route{older, older}, route{older, newer}, route{newer, older}, route{newer, newer})
	expectOneService(t, before.api, after.api)
	expectOneService(t, after.api, before.api)
	before.expectReady()
	after.expectReady()

	load.use(after.api)
	before.stop()
	load.more(c.receiver, 50, route{newer, newer})
	after.expectReady()

	waiting := after.submit(`{"message":"waits for the older programs","delay":1}`, "")
	load.use()
	after.stop()
	again := c.startPair(older)
	load.use(again.api)
	load.more(c.receiver, 50, route{older, older})
	programs.Eventually(t, programs.Patience, "what the newer API took has completed", func() bool { return again.status(waiting) == "completed" })
	again.expectReady()

	stopLoad()
	load.settle(c.receiver, again.api)
	again.stop()
}

// expectOneService expects that what one API did is known to the other.
func expectOneService(t *testing.T, one, other *api) {
	t.Helper()
	key := one.name + "-before-" + other.name
	const body = `{"message":"once","delay":3600}`
	id := one.submit(body, key)
	if repeated := other.submit(body, key); repeated != id {
		t.Errorf("the key %q made %s at one API and %s at the other", key, id, repeated)
	}
	var canceled, limited struct {
		Status     string
		MaxRunning int `json:"max_running"`
	}
	other.call(http.MethodPatch, "/tasks/"+id, `{"status":"canceled"}`, "", http.StatusOK, &canceled)
	if seen := one.status(id); canceled.Status != "canceled" || seen != "canceled" {
		t.Errorf("canceled by the %s API, the task is %q there and %q at the other", other.name, canceled.Status, seen)
	}
	one.call(http.MethodPatch, "/queues/mail", `{"max_running":7}`, "", http.StatusOK, &limited)
	other.call(http.MethodGet, "/queues/mail", "", "", http.StatusOK, &limited)
	if limited.MaxRunning != 7 {
		t.Errorf("a limit of 7 that the %s API has set is %d at the other", one.name, limited.MaxRunning)
	}
	other.call(http.MethodPatch, "/queues/mail", `{"max_running":null}`, "", http.StatusOK, &limited)
}
