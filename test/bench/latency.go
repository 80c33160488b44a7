package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"
)

const latencyRate = 200 // tasks a second

// latencyGoal is goal 4.
var latencyGoal = goal{
	name: "latency", title: "Latency",
	about: "200 tasks a second, one by one, at the moments that are due whatever the answers take (vegeta; no coordinated omission), on an idle worker. " +
		"From the moment at which the client sends the task to the start of its handler, by the one clock of the machine; of Millrace that is from the HTTP request " +
		"to the line that `HANDLER=log:` writes. Then the commands and statements that an idle worker costs.",
	contenders: func(options) []contender {
		return []contender{
			{name: "River tuned", measure: riverLatency(latencyBest)},
			{name: "Millrace", measure: func(b *bench) reading { return b.plain().latency(b) }},
			{name: "Asynq tuned", measure: asynqLatency("1ms")},
			{name: "Asynq default", measure: asynqLatency("0")},
			{name: "Millrace, an idle worker", once: true, measure: func(b *bench) reading { return b.plain().idleWorker(b) }},
		}
	},
	judge: func(s series, _ options) []verdict {
		return []verdict{
			atMost("p50 / River's", s.ratio("Millrace", "River tuned", "p50"), 1),
			atMost("p99 / Asynq's, tuned", s.ratio("Millrace", "Asynq tuned", "p99"), 1),
			below("Redis commands a second, idle", s.of("Millrace, an idle worker", "Redis commands/s"), 5),
			below("PostgreSQL statements a second, idle", s.of("Millrace, an idle worker", "statements/s"), 5),
		}
	},
	charts: []chart{
		{file: "latency-p50", title: "Accepted to started, p50 in ms", metric: "p50", names: []string{"River tuned", "Millrace", "Asynq tuned"}},
		{file: "latency-p99", title: "Accepted to started, p99 in ms", metric: "p99", names: []string{"River tuned", "Millrace", "Asynq tuned"}},
	},
}

// openLoop submits tasks at the rate, for that long, and returns how the API
// answered. Each message begins with the time at which it was sent. A task that is not accepted fails the measurement.
func (b *bench) openLoop(addr string, perSecond int, d time.Duration) *vegeta.Metrics {
	target := func(t *vegeta.Target) error {
		sent := fmt.Sprintf("%d %s", time.Now().UnixNano(), message)[:len(message)]
		*t = vegeta.Target{
			Method: "POST", URL: "http://" + addr + "/tasks", Body: []byte(`{"message":"` + sent + `"}`),
			Header: map[string][]string{"Content-Type": {"application/json"}},
		}
		return nil
	}
	attacker := vegeta.NewAttacker()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-b.ctx.Done():
			attacker.Stop()
		case <-stop:
		}
	}()
	var m vegeta.Metrics
	for res := range attacker.Attack(target, vegeta.Rate{Freq: perSecond, Per: time.Second}, d, "tasks") {
		m.Add(res)
	}
	m.Close()
	if m.StatusCodes["201"] != int(m.Requests) {
		b.Fatalf("of %d tasks %d were accepted: %v", m.Requests, m.StatusCodes["201"], m.Errors)
	}
	return &m
}

// latency goes by the machine's clock: the times in the rows are the estimates that
// two processes have of the database's, and these differ by more than is measured
// when the machine is busy.
func (s *store) latency(b *bench) reading {
	s.empty(b)
	api, worker := b.startAPI(s), b.startWorker(s, 100, "HANDLER=log:", "LOG_LEVEL=info")
	processes := b.processes("api", api.PID())
	processes["worker"], processes["load"] = worker.PID(), os.Getpid()
	b.openLoop(api.addr, latencyRate, b.warm)
	s.awaitCompleted(b)
	from, spent := time.Now(), processes.startCounting()
	m := b.openLoop(api.addr, latencyRate, b.measured)
	s.awaitCompleted(b)
	r := spent(int(m.Requests))
	r["accept p99"] = float64(m.Latencies.P99) / float64(time.Millisecond)
	waits := waited(worker.Output(), from)
	if len(waits) != int(m.Requests) {
		b.Fatalf("%d tasks were sent and %d started", m.Requests, len(waits))
	}
	r["p50"], r["p99"] = percentile(waits, 0.50), percentile(waits, 0.99)
	return r
}

// waited reads in a worker's log how many milliseconds passed between the sending
// of the tasks that were sent since from and the start of their handlers.
func waited(log string, from time.Time) []float64 {
	var waits []float64
	for line := range strings.Lines(log) {
		var started struct {
			Time         time.Time
			Msg, Message string
		}
		if json.Unmarshal([]byte(line), &started) != nil || started.Msg != "task" {
			continue
		}
		digits, _, _ := strings.Cut(started.Message, " ")
		nanos, _ := strconv.ParseInt(digits, 10, 64) // openLoop wrote them
		if sent := time.Unix(0, nanos); !sent.Before(from) {
			waits = append(waits, started.Time.Sub(sent).Seconds()*1000)
		}
	}
	return waits
}

// awaitCompleted waits until no task waits or runs.
func (s *store) awaitCompleted(b *bench) {
	b.until(time.Minute, 50*time.Millisecond, "all tasks are completed", func() bool {
		return b.number(s.db, "SELECT count(*) FROM tasks WHERE status = 'pending'")+
			b.number(s.db, "SELECT count(*) FROM tasks WHERE status = 'processing'") == 0
	})
}

// idleWorker counts what an idle worker asks.
func (s *store) idleWorker(b *bench) reading {
	s.empty(b)
	b.exec(b.servers.admin, "ALTER DATABASE millrace SET log_statement = 'all'")
	defer b.exec(b.servers.admin, "ALTER DATABASE millrace RESET log_statement")
	worker := b.startWorker(s, 100)
	b.sleep(2 * time.Second) // what it does at its start is not of interest
	statements := func() int {
		log := b.servers.postgres.Log()
		return strings.Count(log, "LOG:  statement:") + strings.Count(log, "LOG:  execute ")
	}
	asked, commands := statements(), b.servers.redisCalls(b.session)
	spent := processGroup{"worker": worker.PID()}.startCounting()
	b.sleep(b.idle)
	return reading{
		"statements/s":     float64(statements()-asked) / b.idle.Seconds(),
		"Redis commands/s": float64(b.servers.redisCalls(b.session)-commands) / b.idle.Seconds(),
		"CPU ms/s":         spent(1)["cpu worker"] / b.idle.Seconds(),
	}
}

// latencyBest are how often River may fetch, and how often it looks for what a
// notification did not tell of: of those that the goal tune tries, the ones with the
// lowest median in two rounds, whose ranges overlap.
var latencyBest = [2]string{"2ms", "20ms"}

func riverLatency(times [2]string) func(b *bench) reading {
	return func(b *bench) reading {
		return b.peer(processGroup{"postgres": b.servers.postgresPID}, "river-latency", "-database", b.river(),
			"-rate", strconv.Itoa(latencyRate), "-workers", "100", "-cooldown", times[0], "-poll", times[1], "-conns", "10")
	}
}

// asynqLatency looks every so often: at 1 ms its median was half of that at 5 ms in
// each of three rounds. By default it is a second.
func asynqLatency(poll string) func(b *bench) reading {
	return func(b *bench) reading {
		b.emptyRedis()
		return b.peer(processGroup{"redis": b.servers.redisPID}, "asynq-latency", "-redis", b.servers.redisAddr(),
			"-rate", strconv.Itoa(latencyRate), "-workers", "100", "-poll", poll)
	}
}
