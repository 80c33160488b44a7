package main

import (
	"fmt"
	"strconv"
)

// drainGoal is goal 3.
var drainGoal = goal{
	name: "drain", title: "Drain",
	about: "Tasks that wait already, in PostgreSQL and in Redis, through `worker` with `HANDLER=noop:`. What is timed is the time from the completion of the last task " +
		"that warms up to that of the last one, by the table; as many warm up whatever waits. The ceiling is lib/pq with two prepared UPDATEs of many tasks on the same table. " +
		"River has the settings of `river bench`: 2,000 workers, a fetch every 2 ms. Asynq keeps nothing on disk here.",
	contenders: func(o options) []contender {
		ours := func(d drain) func(*bench) reading {
			return func(b *bench) reading { return b.plain().drain(b, d) }
		}
		return []contender{
			{name: "River, 2,000 workers", measure: riverDrain(riverBest)},
			{name: "Millrace, 100 slots", measure: ours(drain{tasks: o.tasks, slots: 100})},
			{name: fmt.Sprintf("Asynq, %d workers", asynqBest), measure: asynqDrain(asynqBest)},
			{name: "Asynq, 100 workers", measure: asynqDrain(100)},
			{name: "two UPDATEs x100, 4 clients", measure: func(b *bench) reading { return b.plain().updates(b, o.tasks, 4, 100) }},
			{name: "Millrace, 1,000 slots", measure: ours(drain{tasks: o.tasks, slots: 1000})},
			{name: "two UPDATEs x1000, 4 clients", measure: func(b *bench) reading { return b.plain().updates(b, o.tasks, 4, 1000) }},
			{name: "Millrace, 2 workers of 100 slots", measure: ours(drain{tasks: o.tasks, slots: 100, workers: 2})},
			{name: "Millrace, 100 slots, max_running 100", measure: ours(drain{tasks: o.tasks, slots: 100, limit: 100})},
			{name: "Millrace, 100 slots, few waiting", measure: ours(drain{tasks: o.tasks / 10, before: o.tasks / 10, slots: 100})},
			{name: "Millrace, 100 slots, most waiting", measure: ours(drain{tasks: o.tasks, waiting: o.waiting, slots: 100})},
		}
	},
	judge: func(s series, o options) []verdict {
		const ours, most = "Millrace, 100 slots", "Millrace, 1,000 slots"
		const few, many = "Millrace, 100 slots, few waiting", "Millrace, 100 slots, most waiting"
		asynq := greatest(s.of(fmt.Sprintf("Asynq, %d workers", asynqBest), "rate"), s.of("Asynq, 100 workers", "rate"))
		ceiling := greatest(s.of("two UPDATEs x100, 4 clients", "rate"), s.of("two UPDATEs x1000, 4 clients", "rate"))
		return []verdict{
			atLeast("rate with 100 slots / River", s.ratio(ours, "River, 2,000 workers", "rate"), 2.5),
			atLeast("rate with 100 slots / Asynq's better", ratios(s.of(ours, "rate"), asynq), 4),
			atLeast("rate with 1,000 slots / the better ceiling", ratios(s.of(most, "rate"), ceiling), 0.7),
			atLeast("rate of two workers / of one", s.ratio("Millrace, 2 workers of 100 slots", ours, "rate"), 1),
			atLeast(fmt.Sprintf("rate with %s waiting / with %s", short(float64(o.waiting)), short(float64(o.tasks/10))), s.ratio(many, few, "rate"), 0.8),
			atLeast(fmt.Sprintf("rate with %s waiting / with %s", short(float64(o.waiting)), short(float64(o.tasks))), s.ratio(many, ours, "rate"), 0.8),
			atMost("CPU per task, most waiting / few waiting", ratios(s.total(many, "cpu "), s.total(few, "cpu ")), 1/0.8),
		}
	},
	charts: []chart{{file: "drain", title: "Tasks drained a second", metric: "rate"}},
}

// riverSettings are what makes River drain fast or slow.
type riverSettings struct{ workers, conns int }

// riverBest has the workers of `river bench`. The goal tune did not tell it from
// 1,000 and 5,000 workers, nor from 4 and 20 connections, on a quiet machine.
var riverBest = riverSettings{workers: 2000, conns: 10}

// asynqBest is a concurrency of Asynq beside the 100 of Millrace's slots. The same
// rounds did not tell 8, 32, 100 and 200 apart; the better of the two counts.
const asynqBest = 200

func riverDrain(r riverSettings) func(b *bench) reading {
	return func(b *bench) reading {
		return b.peer(processGroup{"postgres": b.servers.postgresPID}, "river-drain", "-database", b.river(),
			"-tasks", strconv.Itoa(b.tasks), "-warm-tasks", strconv.Itoa(b.tasks/10), "-cooldown", "2ms", "-poll", "5ms",
			"-workers", strconv.Itoa(r.workers), "-conns", strconv.Itoa(r.conns))
	}
}

func asynqDrain(workers int) func(b *bench) reading {
	return func(b *bench) reading {
		b.emptyRedis()
		return b.peer(processGroup{"redis": b.servers.redisPID}, "asynq-drain", "-redis", b.servers.redisAddr(),
			"-tasks", strconv.Itoa(b.tasks), "-warm-tasks", strconv.Itoa(b.tasks/10), "-workers", strconv.Itoa(workers))
	}
}
