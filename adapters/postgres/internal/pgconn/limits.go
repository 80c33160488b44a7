package pgconn

import "time"

// Limits are the time limits of a call. Each one that runs inside another ends before
// it, for any number of hosts: TestLimits of package bootstrap checks that.
type Limits struct {
	// Call bounds the wait for a connection, and then each wait for the server.
	Call time.Duration
	// Connect bounds the making of a connection, over all hosts. Within Call.
	Connect time.Duration
	// Stagger is how long a host is waited for before the next one is tried beside it,
	// so that a host that swallows packets costs little time. All hosts within Connect.
	Stagger time.Duration
	// Ping bounds the wait for a sign of life from a connection that was idle. Ping and
	// Connect within Call: a connection that is gone is replaced within one call.
	Ping time.Duration
	// Lock bounds each wait of the server for a lock. Within Call: the server is the
	// first to give up, and nothing goes on there that was given up here.
	Lock time.Duration
	// Probe bounds a probe of readiness, within that of the HTTP server. All hosts are
	// tried within Probe.
	Probe time.Duration
	// Orphan is how often the server looks whether the client of a statement is gone.
	Orphan time.Duration
}

// Limits returns the limits that follow from the timeout of a call.
func (c Config) Limits() Limits {
	call := c.WithDefaults().CallTimeout
	connect := min(call*3/5, 10*time.Second)
	return Limits{
		Call: call, Connect: connect, Stagger: min(connect/12, 250*time.Millisecond), Ping: min(call/5, time.Second),
		Lock: call * 9 / 10, Probe: 1800 * time.Millisecond, Orphan: 2 * time.Second,
	}
}

// orphanGrace is how much longer than Orphan a server may take to end a statement
// whose client is gone.
const orphanGrace = 500 * time.Millisecond

// closeGrace is how long a server may take to end a session that it was asked to end.
const closeGrace = 100 * time.Millisecond
