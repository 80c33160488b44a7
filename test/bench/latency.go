package main

import (
	"context"
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
	about: "200 tasks a second, one by one, at the moments that are due whatever the answers take (vegeta; no " +
		"coordinated omission), on an idle worker, for twice as long as other loads. From the moment at which the " +
		"client sends the task to the start of its handler, by the one clock of the machine; of Millrace that is " +
		"from the HTTP request to the line that `HANDLER=log:` writes. With slow flushes, PostgreSQL waits 2 ms " +
		"before it flushes a commit (`commit_delay = 2000`, `commit_siblings = 0`): a disk of a cloud. Then the " +
		"commands and statements that an idle worker costs.",
	contenders: func(options) []contender {
		ours := func(b *bench) reading { return b.plain().latency(b) }
		return []contender{
			{name: "River tuned", measure: riverLatency(latencyBest)},
			{name: "Millrace", measure: ours},
			{name: "Asynq tuned", measure: asynqLatency("1ms")},
			{name: "River tuned, slow flushes", measure: slowFlushes(riverLatency(latencyBest))},
			{name: "Millrace, slow flushes", measure: slowFlushes(ours)},
			{name: "Asynq default", once: true, measure: asynqLatency("0")},
			{name: "Millrace, an idle worker", once: true, measure: func(b *bench) reading { return b.plain().idleWorker(b) }},
		}
	},
	judge: func(s series, _ options) []verdict {
		return []verdict{
			atMost("p50 / River's, tuned", s.ratio("Millrace", "River tuned", "p50"), 0.9),
			atMost("p99 / River's, tuned", s.ratio("Millrace", "River tuned", "p99"), 1),
			atMost("p50 / River's, tuned, slow flushes", s.ratio("Millrace, slow flushes", "River tuned, slow flushes", "p50"), 0.7),
			atMost("p99 / River's, tuned, slow flushes", s.ratio("Millrace, slow flushes", "River tuned, slow flushes", "p99"), 0.8),
			atMost("p99 / Asynq's, tuned", s.ratio("Millrace", "Asynq tuned", "p99"), 1),
			below("Redis commands a second, idle", s.of("Millrace, an idle worker", "Redis commands/s"), 5),
			below("PostgreSQL statements a second, idle", s.of("Millrace, an idle worker", "statements/s"), 5),
		}
	},
	charts: []chart{
		{file: "latency-p50", title: "Accepted to started, p50 in ms", metric: "p50", names: latencyShown},
		{file: "latency-p99", title: "Accepted to started, p99 in ms", metric: "p99", names: latencyShown},
	},
}

// latencyShown are those that fit in one picture.
var latencyShown = []string{"River tuned", "Millrace", "Asynq tuned", "River tuned, slow flushes", "Millrace, slow flushes"}

// latencyTime is how long a latency is measured: at the rate of these loads a 99th
// percentile needs longer than a rate does.
func (b *bench) latencyTime() time.Duration { return 2 * b.measured }

// slowFlushes measures with a PostgreSQL that waits 2 ms before each flush of a commit.
// Sessions that begin meanwhile do so, and those of all programs do.
func slowFlushes(measure func(b *bench) reading) func(b *bench) reading {
	return func(b *bench) reading {
		for _, setting := range []string{"commit_delay", "commit_siblings"} {
			defer b.exec(b.servers.admin, "ALTER ROLE postgres RESET "+setting)
		}
		b.exec(b.servers.admin, "ALTER ROLE postgres SET commit_delay = 2000")
		b.exec(b.servers.admin, "ALTER ROLE postgres SET commit_siblings = 0")
		now := b.open(b.servers.postgres.URL("postgres"))
		if delay := b.text(now, "SELECT current_setting('commit_delay') || ' ' || current_setting('commit_siblings')"); delay != "2000 0" {
			b.Fatalf("commit_delay and commit_siblings are %s: flushes are not slow", delay)
		}
		return measure(b)
	}
}

// openLoop submits tasks at the rate, for that long, and returns how the API
// answered. A task that is not accepted fails the measurement.
func (b *bench) openLoop(addr string, perSecond int, d time.Duration) *vegeta.Metrics {
	var m vegeta.Metrics
	openLoop(b.ctx, addr, perSecond, d, m.Add)
	m.Close()
	if m.StatusCodes["201"] != int(m.Requests) {
		b.Fatalf("of %d tasks %d were accepted: %v", m.Requests, m.StatusCodes["201"], m.Errors)
	}
	return &m
}

// stamped is a message that begins with the time at which it is sent.
func stamped() string { return fmt.Sprintf("%d %s", time.Now().UnixNano(), message)[:len(message)] }

// openLoop is for a goroutine beside that of the session too. It ends with ctx, or after d
// unless that is 0, and tells of each answer.
func openLoop(ctx context.Context, addr string, perSecond int, d time.Duration, answered func(*vegeta.Result)) {
	target := func(t *vegeta.Target) error {
		*t = vegeta.Target{
			Method: "POST", URL: "http://" + addr + "/tasks", Body: []byte(`{"message":"` + stamped() + `"}`),
			Header: map[string][]string{"Content-Type": {"application/json"}},
		}
		return nil
	}
	attacker := vegeta.NewAttacker()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-ctx.Done():
			attacker.Stop()
		case <-stop:
		}
	}()
	for res := range attacker.Attack(target, vegeta.Rate{Freq: perSecond, Per: time.Second}, d, "tasks") {
		answered(res)
	}
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
	m := b.openLoop(api.addr, latencyRate, b.latencyTime())
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
		if sent, at, ok := startIn([]byte(line)); ok && !sent.Before(from) {
			waits = append(waits, at.Sub(sent).Seconds()*1000)
		}
	}
	return waits
}

// startIn reads in a line of a worker's log when a task was sent and when it started.
func startIn(line []byte) (sent, at time.Time, ok bool) {
	var started struct {
		Time         time.Time
		Msg, Message string
	}
	if json.Unmarshal(line, &started) != nil || started.Msg != "task" {
		return sent, at, false
	}
	digits, _, _ := strings.Cut(started.Message, " ")
	nanos, _ := strconv.ParseInt(digits, 10, 64) // stamped wrote them
	return time.Unix(0, nanos), started.Time, true
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
			"-measured", b.latencyTime().String(), "-rate", strconv.Itoa(latencyRate), "-workers", "100", "-cooldown", times[0], "-poll", times[1], "-conns", "10")
	}
}

// asynqLatency looks every so often: at 1 ms its median was half of that at 5 ms in
// each of three rounds. By default it is a second.
func asynqLatency(poll string) func(b *bench) reading {
	return func(b *bench) reading {
		b.emptyRedis()
		return b.peer(processGroup{"redis": b.servers.redisPID}, "asynq-latency", "-redis", b.servers.redisAddr(),
			"-measured", b.latencyTime().String(), "-rate", strconv.Itoa(latencyRate), "-workers", "100", "-poll", poll)
	}
}
