package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"
)

// wrkScript is a load for wrk: the body, then what makes it a load with keys, if
// it is one. wrk makes a request without keys once and sends it again and again.
const wrkScript = `wrk.method = "POST"
wrk.body = [==[%s]==]
wrk.headers["Content-Type"] = "application/json"
%s
function done(summary, latency)
	local e = summary.errors
	io.write(string.format('\n{"requests":%%d,"micros":%%d,"refused":%%d,"broken":%%d,"p50":%%f,"p99":%%f}\n',
		summary.requests, summary.duration, e.status, e.connect + e.read + e.write + e.timeout,
		latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
`

// wrkKeys gives every request a key of its own: the word, the thread and a number
// take the place of what stands for it in a request that is made once.
const wrkKeys = `
local threads = 0
function setup(thread)
	threads = threads + 1
	thread:set("number", threads)
end
local head, tail, sent = nil, nil, 0
function request()
	if not head then
		wrk.headers["Idempotency-Key"] = "KEY-OF-ITS-OWN"
		local text = wrk.format()
		local from, to = text:find("KEY-OF-ITS-OWN", 1, true)
		head, tail = text:sub(1, from - 1) .. "%s-" .. number .. "-", text:sub(to + 1)
	end
	sent = sent + 1
	return head .. sent .. tail
end
`

// wrk is a load of requests, as fast as they are answered.
type wrk struct {
	url, body string
	clients   int
	keyed     bool // every request has an Idempotency-Key of its own
}

// answers is what wrk has counted.
type answers struct {
	Requests, Micros, Refused, Broken int
	P50, P99                          float64 // milliseconds
	cpu                               time.Duration
}

// warmUp sends the load for as long as a measurement's warm-up takes, and waits
// until what wrk has left without an answer is through.
func (w wrk) warmUp(b *bench) {
	w.send(b, b.warm)
	b.sleep(500 * time.Millisecond)
}

// send sends the load for that long. A request that is not answered 201 fails the
// measurement: it is of something else.
func (w wrk) send(b *bench, d time.Duration) answers {
	keys := ""
	if w.keyed {
		keys = fmt.Sprintf(wrkKeys, uuid.NewString())
	}
	script := filepath.Join(b.folder("wrk"), "load.lua")
	b.must(os.WriteFile(script, fmt.Appendf(nil, wrkScript, w.body, keys), 0o600), "write a script for wrk")
	seconds := max(1, int(d.Round(time.Second).Seconds())) // it knows whole ones only
	cmd := exec.CommandContext(b.ctx, "wrk", "--threads=2", fmt.Sprint("--connections=", w.clients),
		fmt.Sprintf("--duration=%ds", seconds), "--timeout=20s", "--script="+script, w.url)
	var problems bytes.Buffer
	cmd.Stderr = &problems
	out, err := cmd.Output()
	b.must(err, "run wrk: "+problems.String())
	var a answers
	b.must(json.Unmarshal(out[strings.LastIndexByte(strings.TrimSpace(string(out)), '\n')+1:], &a), "read what wrk says")
	if a.Refused > 0 || a.Broken > 0 || a.Requests == 0 {
		b.Fatalf("of %d requests to %s %d were refused and %d broke", a.Requests, w.url, a.Refused, a.Broken)
	}
	a.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return a
}

// measure measures the load, with so many tasks in each request.
func (w wrk) measure(b *bench, processes processGroup, perRequest int) (reading, answers) {
	spent := processes.startCounting()
	a := w.send(b, b.measured)
	tasks := a.Requests * perRequest
	r := rated(tasks, time.Duration(a.Micros)*time.Microsecond, spent(tasks))
	r["p50"], r["p99"] = a.P50, a.P99
	r["cpu load"] = a.cpu.Seconds() * 1000 / float64(tasks)
	return r, a
}
