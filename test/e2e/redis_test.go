package e2e

import (
	"fmt"
	"net/http"
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
