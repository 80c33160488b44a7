package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/millrace/millrace/test/programs"
)

// options are what the flags say.
type options struct {
	runs     int
	warm     time.Duration // before each measurement
	measured time.Duration // of each, where time is what ends it
	tasks    int           // to drain
	waiting  int           // tasks of the longest queue
	finished int           // tasks of the fullest table
	idle     time.Duration // how long an idle worker is observed
	steady   time.Duration // how long a steady load lasts
	held     time.Duration // how long a snapshot is held

	expiredTasks int // that are purged
}

// bench is the environment of the measurements. Servers and stores are made at their
// first use, and shared.
type bench struct {
	*session // of the measurement
	options
	*shared
}

type shared struct {
	servers  *servers
	plain    func() *store // empty before each measurement
	full     func() *store // always holds finished tasks
	expired  func() *store // holds tasks that may be purged
	river    func() string // a database with River's schema
	progress *progress
}

func newBench(tb *session, o options) *bench {
	b := &bench{session: tb, options: o, shared: &shared{servers: startServers(tb)}}
	b.plain = sync.OnceValue(func() *store { return newStore(b, "millrace") })
	b.full = sync.OnceValue(func() *store {
		s := newStore(b, "millrace_full")
		s.finish(b, o.finished)
		return s
	})
	b.expired = sync.OnceValue(func() *store { return newStore(b, "millrace_expired") })
	b.river = sync.OnceValue(func() string {
		url := b.servers.database(tb, "river")
		b.must(exec.CommandContext(b.ctx, programs.Path("peers"), "river-migrate", "-database", url).Run(), "make River's schema")
		return url
	})
	return b
}

// within is b in a shorter session.
func (b *bench) within(tb *session) *bench { return &bench{tb, b.options, b.shared} }

// buildPrograms builds Millrace's programs and those of its peers.
func buildPrograms(tb *session) {
	remove, err := programs.Build(tb.ctx, "cmd/api", "cmd/worker", "cmd/millrace", "test/bench/echo")
	tb.must(err, "build")
	tb.Cleanup(remove)
	peers := exec.CommandContext(tb.ctx, "go", "build", "-o", programs.Path("peers"), ".")
	peers.Dir = filepath.Join("test", "bench", "peers")
	out, err := peers.CombinedOutput()
	tb.must(err, "build the peers: "+string(out))
}

// contender is one of the systems that a goal compares.
type contender struct {
	name    string
	once    bool // it is measured in the first run only
	measure func(b *bench) reading
	// over, instead of measure, reads several times in the course of one measurement.
	over func(b *bench) []reading
}

// read measures it once.
func (c contender) read(b *bench) []reading {
	if c.over != nil {
		return c.over(b)
	}
	return []reading{c.measure(b)}
}

// goal is one goal of the benchmark: what is compared, and what has to come out.
type goal struct {
	name, title string
	about       string // how it was measured, for the report
	contenders  func(o options) []contender
	judge       func(s series, o options) []verdict
	charts      []chart
	named       bool   // it is measured only when it is named
	course      course // how it is shown, if its contenders are read over time
}

// run measures the contenders of a goal in turn, and repeats that as often as the flags
// say, so that other work on the machine disturbs all alike.
func (g goal) run(b *bench) (series, error) {
	all := series{}
	contenders := g.contenders(b.options)
	for n := range b.runs {
		for _, c := range contenders {
			if c.once && n > 0 {
				continue
			}
			b.progress.begin(g.name, c.name, n+1, b.runs)
			var read []reading
			if err := runSession(b.ctx, func(tb *session) { read = c.read(b.within(tb)) }); err != nil {
				return all, fmt.Errorf("%s: %w", c.name, err)
			}
			all[c.name] = append(all[c.name], read...)
			b.progress.end(read[len(read)-1])
		}
	}
	return all, nil
}

// measurements is how many measurements run makes.
func (g goal) measurements(o options) int {
	n := 0
	for _, c := range g.contenders(o) {
		if n++; !c.once {
			n += o.runs - 1
		}
	}
	return n
}

// message is of 100 bytes, as all that is compared.
var message = strings.Repeat("x", 100)

// taskBody is the body of a request for one task.
func taskBody() string { return `{"message":"` + message + `"}` }

// batchBody is the body of a request for n tasks.
func batchBody(n int) string {
	return `{"tasks":[` + strings.Repeat(taskBody()+",", n-1) + taskBody() + `]}`
}

// post sends a request and ignores the answer.
func (b *bench) post(addr, path, body string) { b.request(addr, http.MethodPost, path, body) }

func (b *bench) request(addr, method, path, body string) {
	req, err := http.NewRequestWithContext(b.ctx, method, "http://"+addr+path, strings.NewReader(body))
	b.must(err, "make a request")
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	b.must(err, "send a request")
	defer res.Body.Close()
	if res.StatusCode >= 300 {
		var text bytes.Buffer
		_, _ = text.ReadFrom(res.Body) // what arrives is shown
		b.Fatalf("%s %s: %s: %s", method, path, res.Status, text.String())
	}
}

// peerResult is what test/bench/peers prints.
type peerResult struct {
	Event   string
	Tasks   int
	Seconds float64
	P50     float64
	P99     float64
}

// peer has test/bench/peers measure something, and counts what the processes use meanwhile.
func (b *bench) peer(others processGroup, command string, args ...string) reading {
	cmd := exec.CommandContext(b.ctx, programs.Path("peers"), append([]string{command,
		"-warm", b.warm.String(), "-measured", b.measured.String()}, args...)...)
	var problems bytes.Buffer
	cmd.Stderr = &problems
	out, err := cmd.StdoutPipe()
	b.must(err, "run the peers")
	b.must(cmd.Start(), "run the peers")
	processes := processGroup{"peer": cmd.Process.Pid}
	maps.Copy(processes, others)
	spent := processes.startCounting()
	var r reading
	for lines := json.NewDecoder(out); r == nil; {
		var line peerResult
		if lines.Decode(&line) != nil { // it has ended, and Wait says why
			break
		}
		switch line.Event {
		case "begin":
			spent = processes.startCounting()
		case "end":
			r = rated(line.Tasks, time.Duration(line.Seconds*float64(time.Second)), spent(line.Tasks))
			if line.P99 > 0 {
				delete(r, "rate") // which the load fixes
				r["p50"], r["p99"] = line.P50, line.P99
			}
		}
	}
	b.must(cmd.Wait(), command+": "+problems.String())
	if r == nil {
		b.Fatalf("%s measured nothing", command)
	}
	return r
}
