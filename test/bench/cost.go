package main

import (
	"fmt"
	"os"
	"time"
)

// steadyRate is how many tasks a second a steady load has: what one of a few of
// the smallest machines can do without effort.
const steadyRate = 500

// costGoal is goal 6.
var costGoal = goal{
	name: "cost", title: "Cost",
	about: "Resident memory is the most that a process had (VmHWM). Parts 1 and 3 with many finished tasks in the " +
		"table beside an empty one. Then a steady load, open loop, with a worker: the slope is that of a straight " +
		"line through the resident memory of its last three quarters.",
	contenders: func(o options) []contender {
		accept := func(s func(b *bench) *store) func(b *bench) reading {
			return func(b *bench) reading { return s(b).accept(b, wrk{clients: 64}, 1) }
		}
		drained := func(s func(b *bench) *store, slots int) func(b *bench) reading {
			return func(b *bench) reading { return s(b).drain(b, drain{tasks: o.tasks, slots: slots}) }
		}
		plain := func(b *bench) *store { return b.plain() }
		full := func(b *bench) *store { return b.full() }
		return []contender{
			{name: "accept, empty table", measure: accept(plain)},
			{name: "accept, many finished", measure: accept(full)},
			{name: "drain, empty table", measure: drained(plain, 100)},
			{name: "drain, many finished", measure: drained(full, 100)},
			{name: "drain, 1,000 slots", measure: drained(plain, 1000)},
			{name: "steady load", once: true, measure: func(b *bench) reading { return b.plain().steadily(b) }},
		}
	},
	judge: func(s series, o options) []verdict {
		finished := round(float64(o.finished))
		return []verdict{
			below("resident MB of api", s.of("accept, empty table", "rss api"), 100),
			below("resident MB of worker with 1,000 slots", s.of("drain, 1,000 slots", "rss worker"), 100),
			above(fmt.Sprintf("accept with %s finished / with none", finished), s.ratio("accept, many finished", "accept, empty table", "rate"), 0.85),
			above(fmt.Sprintf("drain with %s finished / with none", finished), s.ratio("drain, many finished", "drain, empty table", "rate"), 0.85),
			below("resident memory of api, last quarter / second", s.of("steady load", "growth api"), 1.1),
			below("resident memory of worker, last quarter / second", s.of("steady load", "growth worker"), 1.1),
		}
	},
}

// steadily watches the memory of both programs under a steady load.
func (s *store) steadily(b *bench) reading {
	s.empty(b)
	api, worker := b.startAPI(s), b.startWorker(s, 100)
	processes := b.processes("api", api.PID())
	processes["worker"], processes["load"] = worker.PID(), os.Getpid()
	done := make(chan struct{})
	seconds, sizes := []float64{}, map[string][]float64{}
	go func() { // the load runs where a failure can be told
		defer close(done)
		for start := time.Now(); time.Since(start) < b.steady && b.ctx.Err() == nil; time.Sleep(b.steady / 100) {
			seconds = append(seconds, time.Since(start).Seconds())
			for _, name := range []string{"api", "worker"} {
				sizes[name] = append(sizes[name], memory(processes[name], "VmRSS"))
			}
		}
	}()
	spent := processes.startCounting()
	m := b.openLoop(api.addr, steadyRate, b.steady)
	r := spent(int(m.Requests))
	<-done
	r["rate"] = m.Throughput
	for name, size := range sizes {
		quarter := len(size) / 4
		r["rss "+name] = size[len(size)-1]
		r["slope "+name] = slope(seconds[quarter:], size[quarter:]) * 60
		r["growth "+name] = mean(size[3*quarter:]) / mean(size[quarter:2*quarter])
	}
	return r
}
