package redis

import (
	"cmp"
	"time"
)

// Limits are the time limits of a call. Each one that runs inside another ends before
// it: TestLimits of package bootstrap checks that.
type Limits struct {
	// Call bounds a call, with the wait for a connection and its dialing.
	Call time.Duration
	// Dial bounds the making of a connection. Within Call.
	Dial time.Duration
	// Ping bounds the wait for a sign of life from a connection that was idle. Ping and
	// Dial within Call: a connection that is gone is replaced within one call.
	Ping time.Duration
	// Pull bounds a pull: its longest wait, and a call.
	Pull time.Duration
	// Unblock bounds the end of a pull whose context has ended.
	Unblock time.Duration
	// Probe bounds a probe of readiness, within that of the HTTP server.
	Probe time.Duration
}

// Limits returns the limits that follow from the timeout of a call.
func (cfg Config) Limits() Limits {
	call := cmp.Or(cfg.CallTimeout, defaultCallTimeout)
	return Limits{
		Call: call, Dial: call / 2, Ping: min(call/5, time.Second), Pull: maxWait + call, Unblock: time.Second,
		Probe: min(1800*time.Millisecond, call*9/10),
	}
}
