package bootstrap

import (
	"fmt"
	"testing"
	"time"

	"github.com/millrace/millrace/adapters/postgres"
	"github.com/millrace/millrace/domain"
)

// Who waits longest has to be the one that asked first: otherwise it gives up while what
// it asked for goes on, and tries again beside it.
func TestLimits_EveryInnerOneEndsBeforeTheOuter(t *testing.T) {
	cfg, err := LoadWorker([]string{"HANDLER=noop:"})
	if err != nil {
		t.Fatal(err)
	}
	const (
		httpProbe  = 2 * time.Second  // of adapters/httpapi, for /readyz
		httpAnswer = 90 * time.Second // of adapters/httpapi, for a whole request
		migration  = 30 * time.Minute // of adapters/postgres, for a call of a migration
	)
	for _, call := range []time.Duration{time.Second, callTimeout, migration} {
		l := postgres.Config{CallTimeout: call}.Limits()
		for hosts := 1; hosts <= 5; hosts++ {
			last := time.Duration(hosts-1) * l.Stagger // when the last host is tried
			for _, c := range []struct {
				name         string
				inner, outer time.Duration
			}{
				{"the last host has half of the time for a connection", last + l.Connect/2, l.Connect},
				{"the last host is tried within a probe", last + 500*time.Millisecond, l.Probe},
				{"a ping of an idle connection and a new one, within a call", l.Ping + l.Connect, l.Call},
				{"a lock at the server, within a call", l.Lock, l.Call},
				{"a probe of the store, within that of the server", l.Probe, httpProbe},
			} {
				if c.inner >= c.outer {
					t.Errorf("calls of %s, %d hosts: %s: %s does not end before %s", call, hosts, c.name, c.inner, c.outer)
				}
			}
		}
	}
	l := postgres.Config{CallTimeout: callTimeout}.Limits()
	for _, c := range []struct {
		name         string
		inner, outer time.Duration
	}{
		{"a heartbeat, before the worker's last one is too old to claim", callTimeout, domain.FreshBeats * cfg.Lease / 10},
		{"a session that was given up, before the lease of its worker", l.Call + l.Orphan, cfg.Lease},
		{"a call, before the end of a stop", callTimeout, cfg.ShutdownTimeout},
		{"a wait for a connection and for three statements, before the end of a request", 4 * callTimeout, httpAnswer},
	} {
		if c.inner >= c.outer {
			t.Errorf("%s: %s does not end before %s", c.name, c.inner, c.outer)
		}
	}
	if got := fmt.Sprint(l.Call); got != "5s" {
		t.Errorf("docs/operations.md says five seconds, and a call has %s", got)
	}
}
