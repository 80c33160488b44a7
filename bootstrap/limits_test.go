package bootstrap

import (
	"fmt"
	"testing"
	"time"

	"github.com/millrace/millrace/adapters/postgres"
	"github.com/millrace/millrace/adapters/redis"
	"github.com/millrace/millrace/application/usecase"
	"github.com/millrace/millrace/domain"
)

// within is an inner limit that has to end before an outer one.
type within struct {
	name         string
	inner, outer time.Duration
}

func wantWithin(t *testing.T, of string, limits []within) {
	t.Helper()
	for _, c := range limits {
		if c.inner >= c.outer {
			t.Errorf("%s: %s: %s does not end before %s", of, c.name, c.inner, c.outer)
		}
	}
}

// Who waits longest has to be the one that asked first: otherwise it gives up while what
// it asked for goes on, and tries again beside it.
func TestLimits_EveryInnerOneEndsBeforeTheOuter(t *testing.T) {
	cfg, err := LoadWorker([]string{"HANDLER=noop:"})
	if err != nil {
		t.Fatal(err)
	}
	const (
		httpDrain  = 500 * time.Millisecond // of adapters/httpapi, for balancers to turn away
		httpProbe  = 2 * time.Second        // of adapters/httpapi, for /readyz
		httpAnswer = 90 * time.Second       // of adapters/httpapi, for a whole request
		migration  = 30 * time.Minute       // of adapters/postgres, for a call of a migration
		portPull   = 10 * time.Second       // of the port application.Queue, for a pull
		queueLasts = 10 * time.Second       // of adapters/redis, for a worker without it
		puller     = 15 * time.Second       // of application/worker, for a pull and a claim
	)
	for _, call := range []time.Duration{time.Second, callTimeout, migration} {
		l := postgres.Config{CallTimeout: call}.Limits()
		for hosts := 1; hosts <= 5; hosts++ {
			last := time.Duration(hosts-1) * l.Stagger // when the last host is tried
			wantWithin(t, fmt.Sprintf("calls of %s, %d hosts", call, hosts), []within{
				{"the last host has half of the time for a connection", last + l.Connect/2, l.Connect},
				{"the last host is tried within a probe", last + 500*time.Millisecond, l.Probe},
				{"a ping of an idle connection and a new one, within a call", l.Ping + l.Connect, l.Call},
				{"a lock at the server, within a call", l.Lock, l.Call},
				{"a probe of the store, within that of the server", l.Probe, httpProbe},
				{"a probe of the store, within an explanation", l.Probe, usecase.ExplainWait},
			})
		}
	}
	for _, call := range []time.Duration{time.Second, 2 * time.Second, callTimeout} {
		q := redis.Config{CallTimeout: call}.Limits()
		wantWithin(t, fmt.Sprintf("calls of %s to Redis", call), []within{
			{"the making of a connection, within a call", q.Dial, q.Call},
			{"a ping of an idle connection and a new one, within a call", q.Ping + q.Dial, q.Call},
			{"a call, within a pull", q.Call, q.Pull},
			{"a pull, before it counts as hanging", q.Pull, portPull},
			{"a probe, within that of the server", q.Probe, httpProbe},
			{"a probe and a look, within an explanation", q.Probe + time.Second, usecase.ExplainWait},
			{"an explanation, before the end of a request", usecase.ExplainWait, httpAnswer},
		})
	}
	work, err := cfg.worker(cfg.StopConfig)
	if err != nil {
		t.Fatal(err)
	}
	const (
		adminStop = 250 * time.Millisecond // of adapters/httpapi, for requests of operators
		killed    = 30 * time.Second       // of docs/operations.md, docker-compose.yml and Kubernetes, from SIGTERM to SIGKILL
	)
	l, q := postgres.Config{CallTimeout: callTimeout}.Limits(), redis.Config{CallTimeout: callTimeout}.Limits()
	wantWithin(t, "all", []within{
		{"a heartbeat, before the worker's last one is too old to claim", callTimeout, domain.FreshBeats * cfg.Lease / 10},
		{"a stop, before its program is killed", work.StopLimit() + lastWordsTimeout + adminStop, killed},
		{"a stop of an API, before it is killed", httpDrain + cfg.ShutdownTimeout + lastWordsTimeout + adminStop, killed},
		{"a session that was given up, before the lease of its worker", l.Call + l.Orphan, cfg.Lease},
		{"a call, before the end of a stop", callTimeout, cfg.ShutdownTimeout},
		{"a wait for a connection and for three statements, before the end of a request", 4 * callTimeout, httpAnswer},
		{"a pull and a claim, before the puller counts as hanging", q.Pull + l.Call, puller},
		{"the end of a pull, before the end of a stop", q.Unblock, cfg.ShutdownTimeout},
		{"a call of Redis, within the tolerance of a worker without it", q.Call, queueLasts},
	})
	if got := fmt.Sprint(l.Call); got != "5s" {
		t.Errorf("docs/operations.md says five seconds, and a call has %s", got)
	}
}
