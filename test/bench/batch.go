package main

// batchGoal is goal 2: many tasks a request.
var batchGoal = goal{
	name: "batch", title: "Batch accept",
	about: "`POST /tasks/batch` with 100 and 1,000 messages of 100 bytes a request, by wrk. The ceiling is lib/pq with " +
		"a prepared `INSERT … SELECT FROM unnest` of 100 tasks into the same table, all columns as arrays; River's " +
		"`InsertManyFast` is a COPY.",
	contenders: func(options) []contender {
		return []contender{
			{name: "lib/pq unnest x100, 16 clients", measure: func(b *bench) reading { return b.plain().unnest(b, 16, 100) }},
			{name: "Millrace x100, 16 clients", measure: func(b *bench) reading { return b.plain().accept(b, wrk{clients: 16}, 100) }},
			{name: "Millrace x1000, 8 clients", measure: func(b *bench) reading { return b.plain().accept(b, wrk{clients: 8}, 1000) }},
			{name: "River `InsertManyFast` x1000, 8 clients", measure: riverBatch},
		}
	},
	judge: func(s series, _ options) []verdict {
		const ceiling, river = "lib/pq unnest x100, 16 clients", "River `InsertManyFast` x1000, 8 clients"
		var all []verdict
		for _, ours := range []string{"Millrace x100, 16 clients", "Millrace x1000, 8 clients"} {
			all = append(all,
				atLeast(ours+" / unnest", s.ratio(ours, ceiling, "rate"), 0.7),
				above(ours+" / River", s.ratio(ours, river, "rate"), 1))
		}
		return all
	},
	charts: []chart{{file: "batch", title: "Tasks accepted a second, in batches", metric: "rate"}},
}

func riverBatch(b *bench) reading {
	return b.peer(processGroup{"postgres": b.servers.postgresPID}, "river-batch", "-database", b.river(), "-clients", "8", "-conns", "8", "-batch", "1000")
}
