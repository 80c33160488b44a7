package main

import (
	"fmt"
	"strconv"
)

// drainGoal is goal 3.
var drainGoal = goal{
	name: "drain", title: "Drain",
	about: "Tasks that wait already, in PostgreSQL and in Redis, through `worker` with `HANDLER=noop:`. What is timed " +
		"is the time from the completion of the last task that warms up to that of the last one, by the table; as " +
		"many warm up whatever waits. The ceiling is lib/pq with two prepared UPDATEs of many tasks on the same " +
		"table. River fetches every 2 ms, as in `river bench`, and has as many workers as Millrace has slots; its " +
		"best is the best of the three in each run. CPU a task is that of all processes: PostgreSQL with its " +
		"backends, Redis, and the program that works. Asynq keeps nothing on disk here.",
	contenders: func(o options) []contender {
		ours := func(d drain) func(*bench) reading {
			return func(b *bench) reading { return b.plain().drain(b, d) }
		}
		ceiling := func(size int) func(*bench) reading {
			return func(b *bench) reading { return b.plain().updates(b, o.tasks, 4, size) }
		}
		return []contender{
			{name: "River, 100 workers", measure: riverDrain(riverSettings{workers: 100, conns: 10})},
			{name: "Millrace, 100 slots", measure: ours(drain{tasks: o.tasks, slots: 100})},
			{name: "two UPDATEs x100, 4 clients", measure: ceiling(100)},
			{name: "River, 1,000 workers", measure: riverDrain(riverSettings{workers: 1000, conns: 10})},
			{name: "Millrace, 1,000 slots", measure: ours(drain{tasks: o.tasks, slots: 1000})},
			{name: "two UPDATEs x1000, 4 clients", measure: ceiling(1000)},
			{name: "River, 2,000 workers", measure: riverDrain(riverSettings{workers: 2000, conns: 10})},
			{name: "Millrace, 2,000 slots", measure: ours(drain{tasks: o.tasks, slots: 2000})},
			{name: "Asynq, 100 workers", measure: asynqDrain(100)},
			{name: "Millrace, 2 workers of 100 slots", measure: ours(drain{tasks: o.tasks, slots: 100, workers: 2})},
			{name: "Millrace, 100 slots, max_running 100", measure: ours(drain{tasks: o.tasks, slots: 100, limit: 100})},
			{name: "Millrace, 100 slots, few waiting", measure: ours(drain{tasks: o.tasks / 10, before: o.tasks / 10, slots: 100})},
			{name: "Millrace, 100 slots, most waiting", measure: ours(drain{tasks: o.tasks, waiting: o.waiting, slots: 100})},
		}
	},
	judge: func(s series, o options) []verdict {
		const ours, most = "Millrace, 100 slots", "Millrace, 1,000 slots"
		const few, many = "Millrace, 100 slots, few waiting", "Millrace, 100 slots, most waiting"
		const ceiling100, ceiling1000 = "two UPDATEs x100, 4 clients", "two UPDATEs x1000, 4 clients"
		const river100, river1000, river2000 = "River, 100 workers", "River, 1,000 workers", "River, 2,000 workers"
		river := greatest(greatest(s.of(river100, "rate"), s.of(river1000, "rate")), s.of(river2000, "rate"))
		ceiling := greatest(s.of(ceiling100, "rate"), s.of(ceiling1000, "rate"))
		waiting := fmt.Sprintf("rate with %s waiting / with ", round(float64(o.waiting)))
		return []verdict{
			atLeast("rate with 100 slots / River, 100 workers", s.ratio(ours, river100, "rate"), 2),
			atLeast("rate with 1,000 slots / River, 1,000 workers", s.ratio(most, river1000, "rate"), 2),
			atLeast("rate with 2,000 slots / River, 2,000 workers", s.ratio("Millrace, 2,000 slots", river2000, "rate"), 2),
			atLeast("rate with 100 slots / River's best", ratios(s.of(ours, "rate"), river), 1.3),
			atLeast("rate with 100 slots / Asynq, 100 workers", s.ratio(ours, "Asynq, 100 workers", "rate"), 4),
			atLeast("rate with 1,000 slots / the better ceiling", ratios(s.of(most, "rate"), ceiling), 0.55),
			atMost("CPU a task, 100 slots / two UPDATEs x100", ratios(s.total(ours, "cpu "), s.total(ceiling100, "cpu ")), 1.5),
			atMost("CPU a task, 1,000 slots / two UPDATEs x1000", ratios(s.total(most, "cpu "), s.total(ceiling1000, "cpu ")), 1.7),
			atLeast("rate with `max_running` / without", s.ratio("Millrace, 100 slots, max_running 100", ours, "rate"), 0.8),
			atLeast("rate of two workers / of one", s.ratio("Millrace, 2 workers of 100 slots", ours, "rate"), 1),
			atLeast(waiting+round(float64(o.tasks/10)), s.ratio(many, few, "rate"), 0.8),
			atLeast(waiting+round(float64(o.tasks)), s.ratio(many, ours, "rate"), 0.8),
			atMost("CPU a task, most waiting / few waiting", ratios(s.total(many, "cpu "), s.total(few, "cpu ")), 1/0.8),
		}
	},
	charts: []chart{{file: "drain", title: "Tasks drained a second", metric: "rate"}},
}

// riverSettings are what makes River drain fast or slow. `river bench` has 2,000 workers.
// The goal tune did not tell these from 1,000 and 5,000, nor 10 connections from 4 and 20,
// on a quiet machine; nor 100 workers of Asynq from 8, 32 and 200.
type riverSettings struct{ workers, conns int }

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
