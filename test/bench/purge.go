package main

import (
	"cmp"
	"strconv"
	"time"
)

const (
	turnovers = 10
	keeping   = "completed=never" // RETENTION
	purging   = "completed=1h"
)

// The contenders of a purge.
const (
	acceptUnpurged = "Millrace accepts, nothing expires"
	acceptPurging  = "Millrace accepts, purging"
	drainUnpurged  = "Millrace drains, nothing expires"
	drainPurging   = "Millrace drains, purging"
	turnedOver     = "Millrace, turnovers"
)

// purgeShown are those in whose rate a purge could be seen.
var purgeShown = []string{acceptUnpurged, acceptPurging, drainUnpurged, drainPurging}

// purgeContenders load a store of expired tasks, once while they stay, and once while they
// are purged. Who purges is a worker of another queue.
func purgeContenders(o options) []contender {
	accept := func(b *bench) reading { return b.expired().acceptNow(b, wrk{clients: 64}, 1) }
	drained := func(b *bench) reading { return b.expired().drainNow(b, drain{tasks: o.tasks, slots: 100}) }
	return []contender{
		{name: acceptUnpurged, measure: besidePurge(keeping, accept)},
		{name: acceptPurging, measure: besidePurge(purging, accept)},
		{name: drainUnpurged, measure: besidePurge(keeping, drained)},
		{name: drainPurging, measure: besidePurge(purging, drained)},
		{name: turnedOver, once: true, over: turnOver},
	}
}

func judgePurge(s series) []verdict {
	size := func(metric string) []float64 { // autovacuum passes once in several turnovers
		first := s.between(turnedOver, metric, func(at, last float64) bool { return at <= last/2 })
		values := s.end(turnedOver, metric)
		for i := range values {
			values[i] /= spreadOf(first).most
		}
		return values
	}
	return []verdict{
		above("accept, purging / nothing expires", s.ratio(acceptPurging, acceptUnpurged, "rate"), 0.95),
		above("drain, purging / nothing expires", s.ratio(drainPurging, drainUnpurged, "rate"), 0.95),
		atMost("size of tasks, last turnovers / most of the first half", size("MB table"), 1.1),
		atMost("size of its indexes, last turnovers / most of the first half", size("MB indexes"), 1.1),
	}
}

// besidePurge measures while a worker purges, if anything expires.
func besidePurge(retention string, measure func(b *bench) reading) func(b *bench) reading {
	return func(b *bench) reading {
		s := b.expired()
		s.refill(b, b.expiredTasks)
		s.empty(b)
		purges := retention == purging
		b.startWorker(s, 1, "QUEUES=elsewhere", "RETENTION="+retention)
		step := func() (deleted int, at time.Time) { // waits until the purge has deleted something
			before := s.deleted(b)
			if purges {
				b.until(time.Minute, 50*time.Millisecond, "expired tasks are purged", func() bool { return s.deleted(b) > before })
			}
			return s.deleted(b), time.Now()
		}
		before, from := step()
		r := measure(b)
		if s.stale(b) == 0 {
			b.Fatalf("all %d expired tasks were purged before the end of the measurement", b.expiredTasks)
		}
		after, to := step()
		r["purged/s"] = float64(after-before) / to.Sub(from).Seconds()
		if !purges && after > before {
			b.Fatalf("%d tasks were purged with RETENTION=%s", after-before, retention)
		}
		return r
	}
}

// deleted is how many tasks have been deleted.
func (s *store) deleted(b *bench) int {
	return b.number(s.db, "SELECT n_tup_del FROM pg_stat_user_tables WHERE relname = 'tasks'")
}

// expire stores so many tasks that were completed long before they are purged.
func (s *store) expire(b *bench, n int) {
	s.copies(b, s.completed, n, time.Now().Add(-24*time.Hour))
}

// stale is how many expired tasks there are.
func (s *store) stale(b *bench) int {
	return b.number(s.db, "SELECT count(*) FROM tasks WHERE created_at < now() - interval '12 hours'")
}

// refill makes good what was purged: as many expired tasks as there were, and stay.
func (s *store) refill(b *bench, n int) {
	s.expire(b, max(0, n-s.stale(b)))
	s.finished = cmp.Or(s.finished, time.Now().Format(time.RFC3339Nano))
}

// turnOver fills the table with expired tasks and waits until they are purged, again and
// again. It reads how large the table is with each filling.
func turnOver(b *bench) []reading {
	s := b.plain()
	s.empty(b)
	b.startWorker(s, 1, "QUEUES=elsewhere", "RETENTION="+purging)
	var all []reading
	for n := range turnovers + 1 {
		s.expire(b, b.expiredTasks/turnovers)
		r := reading{"at": float64(n)}
		for metric, function := range map[string]string{"MB table": "pg_table_size", "MB indexes": "pg_indexes_size"} {
			r[metric] = float64(b.number(s.db, "SELECT "+function+"('tasks')")) / 1e6
		}
		b.progress.note("turnover " + strconv.Itoa(n) + ": " + short(r["MB table"]) + " MB, indexes " + short(r["MB indexes"]) + " MB")
		all = append(all, r)
		b.until(time.Hour, 500*time.Millisecond, "all expired tasks are purged", func() bool {
			return b.number(s.db, "SELECT EXISTS (SELECT FROM tasks)::int") == 0
		})
	}
	return all
}
