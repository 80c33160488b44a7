package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/millrace/millrace/test/programs"
	"github.com/millrace/millrace/test/services"
)

// dialRedis connects to a server of the test's own.
func dialRedis(t *testing.T, server *services.RedisServer) redis.Conn {
	t.Helper()
	c, err := redis.DialURLContext(t.Context(), server.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// submitMany submits n tasks from several clients.
func (d *deployment) submitMany(n int) {
	d.t.Helper()
	var clients sync.WaitGroup
	for c := range 8 {
		clients.Go(func() {
			for i := c; i < n; i += 8 {
				if status, text := call(d.t, "http://"+d.addr, http.MethodPost, "/tasks", fmt.Sprintf(`{"message":"task %d"}`, i)); status != http.StatusCreated {
					d.t.Errorf("task %d: %d %s", i, status, text)
				}
			}
		})
	}
	clients.Wait()
}

func TestService_RefillsTheQueueAfterFLUSHALL(t *testing.T) {
	t.Parallel()
	const tasks = 400
	server := services.StartRedis(t)
	d := deploy(t, services.PostgreSQL(t), server.URL()) // the settings are the defaults
	c := dialRedis(t, server)
	d.submitMany(tasks)
	for range 2 {
		d.worker("HANDLER=sleep:500ms", "WORKER_QUEUE_MAXSIZE=10")
	}
	programs.Eventually(t, programs.Patience, "the workers work", func() bool { return d.count("completed") > 0 })
	if _, err := c.Do("FLUSHALL"); err != nil {
		t.Fatal(err)
	}
	flushed := time.Now()
	if left := d.count("pending"); left < tasks/2 {
		t.Fatalf("only %d tasks are left to be found", left)
	}
	programs.Eventually(t, programs.Patience, "all tasks are completed after the loss of the queue", func() bool { return d.count("completed") == tasks })
	t.Logf("recovered within %v", time.Since(flushed).Round(time.Millisecond))
}

// What a Redis lacks for good is said at the start, in one line.
func TestPrograms_RefuseARedisThatCannotServe(t *testing.T) {
	t.Parallel()
	database := services.PostgreSQL(t)
	server := services.StartRedis(t)
	if _, err := dialRedis(t, server).Do("ACL", "SETUSER", "poor", "on", ">secret", "allkeys", "allchannels", "+@all", "-blmpop", "-publish"); err != nil {
		t.Fatal(err)
	}
	poor := strings.Replace(server.URL(), "redis://", "redis://poor:secret@", 1)
	cluster := services.StartRedis(t, "--cluster-enabled", "yes").URL()
	if migrate := programs.Start(t, t.TempDir(), []string{"DATABASE_URL=" + database}, "api", "migrate"); migrate.Wait(programs.Patience) != 0 {
		t.Fatal(migrate.Output())
	}
	for _, c := range []struct{ program, url, want string }{
		{"api", poor, "BLMPOP, PUBLISH"},
		{"worker", poor, "BLMPOP, PUBLISH"},
		{"api", cluster, "not in cluster mode"},
		{"worker", cluster, "not in cluster mode"},
	} {
		p := programs.Start(t, t.TempDir(), []string{"DATABASE_URL=" + database, "QUEUE_URL=" + c.url, "LISTEN_ADDR=" + programs.FreeAddr(t), "HANDLER=noop:"}, c.program)
		code, out := p.Wait(programs.Patience), p.Output()
		last := out[strings.LastIndex(strings.TrimSpace(out), "\n")+1:]
		if code != 2 || !strings.Contains(last, c.want) || !strings.Contains(last, "QUEUE_URL") || strings.Contains(out, "secret") {
			t.Errorf("%s: code %d, %q", c.program, code, out)
		}
	}
}

// A Redis that accepts no entries is no queue, although it answers pings and pulls.
func TestService_ReadinessSaysWhatRedisRefuses(t *testing.T) {
	t.Parallel()
	server := services.StartRedis(t)
	d, admin := deploy(t, services.PostgreSQL(t), server.URL()), programs.FreeAddr(t)
	d.worker("HANDLER=noop:", "ADMIN_ADDR="+admin)
	programs.WaitReady(t, admin)
	says := func(addr string, status int, words ...string) func() bool {
		return func() bool {
			got, text := call(t, "http://"+addr, http.MethodGet, "/readyz", "")
			for _, word := range words {
				if !strings.Contains(text, word) {
					return false
				}
			}
			return got == status
		}
	}
	c := dialRedis(t, server)
	for _, with := range []struct{ reason, setting, bad, good string }{
		{"OOM", "maxmemory", "1", "0"},
		{"NOREPLICAS", "min-replicas-to-write", "1", "0"},
	} {
		if _, err := c.Do("CONFIG", "SET", with.setting, with.bad); err != nil {
			t.Fatal(err)
		}
		programs.Eventually(t, 10*time.Second, "the API is degraded by "+with.reason, says(d.addr, http.StatusOK, `"degraded"`, with.reason))
		programs.Eventually(t, programs.Patience, "the worker is unready by "+with.reason, says(admin, http.StatusServiceUnavailable, with.reason))
		if status, text := call(t, "http://"+d.addr, http.MethodPost, "/tasks", `{"message":"waits"}`); status != http.StatusCreated {
			t.Errorf("a task is answered %d %s", status, text)
		}
		if _, err := c.Do("CONFIG", "SET", with.setting, with.good); err != nil {
			t.Fatal(err)
		}
		for _, addr := range []string{d.addr, admin} {
			programs.Eventually(t, programs.Patience, addr+" is ready again", says(addr, http.StatusOK, `"ready"`))
		}
	}
	programs.Eventually(t, programs.Patience, "what waited is completed", func() bool { return d.count("completed") == 2 })
}

// Staging and production share a Redis: neither takes the other's entries.
func TestService_TwoDatabasesOnOneRedisAreApart(t *testing.T) {
	t.Parallel()
	const tasks = 40
	server := services.StartRedis(t)
	staging, production := deploy(t, services.PostgreSQL(t), server.URL()), deploy(t, services.PostgreSQL(t), server.URL())
	settings := []string{"HANDLER=noop:", "LOG_LEVEL=debug"} // so that sweeps are told, which find what is lost
	workers := []*programs.Process{staging.worker(settings...), production.worker(settings...)}
	for _, d := range []*deployment{staging, production} {
		d.submitMany(tasks)
	}
	for _, d := range []*deployment{staging, production} {
		programs.Eventually(t, programs.Patience, "all are completed", func() bool { return d.count("completed") == tasks })
	}
	for _, w := range workers {
		if out := w.Output(); strings.Contains(out, "names no task") || strings.Contains(out, `"sweep":"stranded"`) {
			t.Errorf("a worker has met what is not its own: %s", out)
		}
	}
}
