package main

import (
	"database/sql"
	"encoding/json"
	"net/http"
	"path/filepath"
	"strconv"
	"time"

	_ "modernc.org/sqlite" // to read when tasks were completed

	"github.com/millrace/millrace/test/programs"
)

// embeddedGoal is goal 5.
var embeddedGoal = goal{
	name: "embedded", title: "Embedded",
	about: "`millrace serve` on SQLite with `synchronous=FULL`, one process, beside `api` and `worker` on PostgreSQL " +
		"and Redis: the load of part 1, and a drain as in part 3 with 100 slots and fewer tasks. While it accepts, " +
		"its worker takes another queue; before it drains, its queue is paused. A commit of SQLite is at least one " +
		"fsync, and one writer at a time has it: the flushes a second that the disk does bound what is not " +
		"committed together.",
	contenders: func(o options) []contender {
		tasks := max(1, o.tasks*3/10)
		return []contender{
			{name: "Millrace on servers: accept", measure: func(b *bench) reading { return b.plain().accept(b, wrk{clients: 64}, 1) }},
			{name: "Millrace embedded: accept", measure: embeddedAccept},
			{name: "Millrace on servers: drain", measure: func(b *bench) reading { return b.plain().drain(b, drain{tasks: tasks, slots: 100}) }},
			{name: "Millrace embedded: drain", measure: func(b *bench) reading { return embeddedDrain(b, tasks) }},
			{name: "the disk", measure: func(b *bench) reading { return reading{"fsyncs/s": b.fsyncs(time.Second)} }},
		}
	},
	judge: func(s series, _ options) []verdict {
		return []verdict{
			atLeast("accept / on servers", s.ratio("Millrace embedded: accept", "Millrace on servers: accept", "rate"), 0.83),
			atLeast("drain / on servers", s.ratio("Millrace embedded: drain", "Millrace on servers: drain", "rate"), 0.75),
		}
	},
	charts: []chart{{file: "embedded", title: "Tasks a second, embedded and on servers", metric: "rate"}},
}

// startEmbedded starts millrace serve on an empty store, for tasks of a queue.
func (b *bench) startEmbedded(queue string) (p *programs.Process, addr, file string) {
	file = filepath.Join(b.folder("embedded"), "millrace.db")
	addr = programs.FreeAddr(b.session)
	p = b.start(addr, []string{
		"LISTEN_ADDR=" + addr, "DATABASE_URL=sqlite:" + file, "HANDLER=noop:", "QUEUES=" + queue, "WORKER_QUEUE_MAXSIZE=100",
	}, "millrace", "serve")
	return p, addr, file
}

func embeddedAccept(b *bench) reading {
	p, addr, _ := b.startEmbedded("elsewhere")
	load := wrk{url: "http://" + addr + "/tasks", body: taskBody(), clients: 64}
	load.warmUp(b)
	r, _ := load.measure(b, processGroup{"millrace": p.PID()}, 1)
	r["rss millrace"] = memory(p.PID(), "VmHWM")
	return r
}

func embeddedDrain(b *bench, tasks int) reading {
	warm := drain{tasks: tasks}.warm()
	p, addr, file := b.startEmbedded("default")
	const queue = "/queues/default"
	b.request(addr, http.MethodPatch, queue, `{"paused":true}`)
	for left := tasks + warm; left > 0; left -= 1000 {
		b.post(addr, "/tasks/batch", batchBody(min(left, 1000)))
	}
	waiting := func() int {
		var q struct{ Pending, Processing int }
		res, err := http.Get("http://" + addr + queue)
		b.must(err, "read the queue")
		defer res.Body.Close()
		b.must(json.NewDecoder(res.Body).Decode(&q), "read the queue")
		return q.Pending + q.Processing
	}
	spent := processGroup{"millrace": p.PID()}.startCounting()
	b.request(addr, http.MethodPatch, queue, `{"paused":false}`)
	b.until(10*time.Minute, 50*time.Millisecond, "all tasks are completed", func() bool { return waiting() == 0 })
	r := spent(tasks + warm)
	r["rss millrace"] = memory(p.PID(), "VmHWM")
	p.Stop()

	db, err := sql.Open("sqlite", file)
	b.must(err, "open the store")
	defer db.Close()
	var completed int
	var micros float64
	b.scan(db, []any{&completed, &micros}, `SELECT count(*) - 1, max(at) - min(at) FROM (
		SELECT updated_at AS at FROM tasks WHERE status = 'completed' ORDER BY at LIMIT -1 OFFSET `+strconv.Itoa(warm-1)+`)`)
	r["rate"] = float64(completed) / (micros / 1e6)
	return r
}
