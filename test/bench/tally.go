package main

import (
	"bufio"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/test/programs"
)

// tally counts the tasks that start, and how long they have waited, interval by interval.
type tally struct {
	started atomic.Int64
	refused atomic.Int64 // tasks that were not accepted, since from

	mu    sync.Mutex
	from  time.Time
	waits []float64 // milliseconds, of those that have started since from
}

func (t *tally) add(sent, at time.Time) {
	t.started.Add(1)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waits = append(t.waits, at.Sub(sent).Seconds()*1000)
}

// take ends an interval at the given time. In one without a start nothing has waited.
func (t *tally) take(now time.Time) reading {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := reading{"rate": float64(len(t.waits)) / now.Sub(t.from).Seconds(), "refused": float64(t.refused.Swap(0))}
	if len(t.waits) > 0 {
		r["p50"], r["p99"] = percentile(t.waits, 0.50), percentile(t.waits, 0.99)
	}
	t.from, t.waits = now, t.waits[:0]
	return r
}

// startTallied starts a worker that logs each task at its start, and counts these.
func (s *store) startTallied(b *bench, slots int) *tally {
	read, write, err := os.Pipe()
	b.must(err, "make a pipe for the worker's log")
	b.Cleanup(func() { _ = read.Close() })
	addr := programs.FreeAddr(b.session)
	env := append(s.workerEnv(b, slots), "ADMIN_ADDR="+addr, "HANDLER=log:", "LOG_LEVEL=info")
	programs.StartTo(b.session, write, os.TempDir(), env, "worker")
	_ = write.Close() // the worker has its own
	t := &tally{from: time.Now()}
	go func() {
		for lines := bufio.NewScanner(read); lines.Scan(); { // until the worker has ended
			if sent, at, ok := startIn(lines.Bytes()); ok {
				t.add(sent, at)
			}
		}
	}()
	programs.WaitReady(b.session, addr)
	return t
}
