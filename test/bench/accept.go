package main

import (
	"strconv"

	"github.com/millrace/millrace/test/programs"
)

// acceptGoal is goal 1: one task a request.
var acceptGoal = goal{
	name: "accept", title: "Accept",
	about: "`POST /tasks` with a message of 100 bytes, by wrk on keep-alive connections, to `api` on PostgreSQL and " +
		"Redis: each task is committed and queued before it is answered. No worker runs. After each measurement " +
		"there are as many rows as answers. pgbench inserts into the same table; the echo is a gorilla/mux server " +
		"that stores nothing; River inserts without HTTP.",
	contenders: func(options) []contender {
		return []contender{
			{name: "pgbench, single-row INSERT, 64 clients", measure: func(b *bench) reading { return b.plain().pgbench(b, 64) }},
			{name: "Millrace, 64 clients", measure: func(b *bench) reading { return b.plain().accept(b, wrk{clients: 64}, 1) }},
			{name: "echo, 64 clients", measure: echo},
			{name: "River `Insert`, 64 goroutines", measure: riverInsert},
			{name: "Millrace, 256 clients", measure: func(b *bench) reading { return b.plain().accept(b, wrk{clients: 256}, 1) }},
			{name: "Millrace, 64 clients, Idempotency-Key", measure: func(b *bench) reading {
				return b.plain().accept(b, wrk{clients: 64, keyed: true}, 1)
			}},
		}
	},
	judge: func(s series, _ options) []verdict {
		const ours, echo = "Millrace, 64 clients", "echo, 64 clients"
		return []verdict{
			atLeast("rate / pgbench", s.ratio(ours, "pgbench, single-row INSERT, 64 clients", "rate"), 1.3),
			atLeast("rate / echo", s.ratio(ours, echo, "rate"), 0.45),
			atLeast("rate / River `Insert`", s.ratio(ours, "River `Insert`, 64 goroutines", "rate"), 4),
			below("p99 / echo's", s.ratio(ours, echo, "p99"), 3),
			atLeast("rate with 256 clients / with 64", s.ratio("Millrace, 256 clients", ours, "rate"), 1),
			atLeast("rate with an Idempotency-Key / without", s.ratio("Millrace, 64 clients, Idempotency-Key", ours, "rate"), 0.6),
		}
	},
	charts: []chart{{file: "accept", title: "Tasks accepted a second", metric: "rate"}},
}

// accept measures how many tasks the API accepts. The load's URL and body follow
// from how many tasks a request has.
func (s *store) accept(b *bench, load wrk, perRequest int) reading {
	s.empty(b)
	return s.acceptNow(b, load, perRequest)
}

// acceptNow leaves in the store what is in it.
func (s *store) acceptNow(b *bench, load wrk, perRequest int) reading {
	api := b.startAPI(s)
	load.url, load.body = "http://"+api.addr+"/tasks", taskBody()
	if perRequest > 1 {
		load.url, load.body = load.url+"/batch", batchBody(perRequest)
	}
	load.warmUp(b)
	before := s.added(b)
	r, a := load.measure(b, b.processes("api", api.PID()), perRequest)
	r["rss api"] = memory(api.PID(), "VmHWM")
	if rows := s.added(b) - before; rows < a.Requests*perRequest {
		b.Fatalf("%d tasks were answered and %d are stored", a.Requests*perRequest, rows)
	}
	if keys := b.number(s.db, "SELECT count(*) FROM idempotency_keys"); load.keyed && keys < a.Requests {
		b.Fatalf("%d requests with keys were answered and %d keys are stored", a.Requests, keys)
	}
	return r
}

// processes are the servers, and one more.
func (b *bench) processes(name string, pid int) processGroup {
	return processGroup{"postgres": b.servers.postgresPID, "redis": b.servers.redisPID, name: pid}
}

func echo(b *bench) reading {
	addr := programs.FreeAddr(b.session)
	p := b.start(addr, nil, "echo", addr)
	load := wrk{url: "http://" + addr + "/tasks", body: taskBody(), clients: 64}
	load.warmUp(b)
	r, _ := load.measure(b, processGroup{"api": p.PID()}, 1)
	return r
}

// riverInsert has 20 connections: the goal tune tells them from 64, which are slower,
// and hardly from 10.
func riverInsert(b *bench) reading { return riverInsertOn(b, 20) }

func riverInsertOn(b *bench, conns int) reading {
	return b.peer(processGroup{"postgres": b.servers.postgresPID}, "river-insert", "-database", b.river(), "-clients", "64", "-conns", strconv.Itoa(conns))
}
