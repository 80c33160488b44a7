package chaos

import (
	"database/sql"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/lib/pq"
)

// key is an idempotency key as PostgreSQL has it at the end.
type key struct {
	name string
	ids  []string
}

// checkSubmissions compares what clients asked for with what is stored: of each
// submission everything, once, as it was asked for; or nothing.
func (r *run) checkSubmissions(p *report, lives []life) {
	byMessage := make(map[string]life, len(lives)) // those that are there twice are looked for elsewhere
	for _, l := range lives {
		byMessage[l.message] = l
	}
	keys := map[string]key{}
	for _, k := range rows(r.t, r.direct, func(row *sql.Rows, k *key) error { return row.Scan(&k.name, pq.Array(&k.ids)) },
		"SELECT key, task_ids FROM idempotency_keys") {
		keys[k.name] = k
	}
	p.Keys = len(keys)
	var torn, refused, other, unkeyed finding
	for _, s := range r.load.submissions {
		var ids []string
		for _, w := range s.wishes {
			l, ok := byMessage[w.Message]
			if !ok {
				continue
			}
			ids = append(ids, l.id)
			if why := l.differs(w); why != "" {
				other.add("task %s, %q, is stored with another %s than it was submitted with", l.id, w.Message, why)
			}
		}
		if s.batch && len(ids) > 0 {
			p.Batches++
		}
		switch {
		case s.wrong:
			if len(ids) > 0 {
				refused.add("%d tasks are stored of a batch that has to be refused: %q", len(ids), s.wishes[0].Message)
			}
			continue
		case len(ids) != 0 && len(ids) != len(s.wishes):
			torn.add("%d of %d tasks are stored of %q", len(ids), len(s.wishes), s.wishes[0].Message)
		case s.answered && !slices.Equal(ids, s.ids):
			other.add("%q was answered with the tasks %q, and %q are stored", s.wishes[0].Message, s.ids, ids)
		}
		if s.key == "" {
			continue
		}
		if k := keys[s.key]; !slices.Equal(k.ids, ids) {
			unkeyed.add("the key %q is stored with the tasks %q, and %q are stored", s.key, k.ids, ids)
		}
		delete(keys, s.key)
	}
	for k := range keys {
		unkeyed.add("the key %q is stored, and belongs to no request that may have been accepted", k)
	}
	p.TornSubmissions, p.KeysWithOtherTasks = torn.n, unkeyed.n
	torn.report(r.t)
	refused.report(r.t)
	other.report(r.t)
	unkeyed.report(r.t)
}

// differs says in what the stored task differs from what was asked for.
func (l life) differs(w wish) string {
	micros := func(seconds float64) int64 { return int64(math.Round(seconds * 1e6)) }
	switch {
	case l.queue != w.queue():
		return "queue"
	case l.priority != w.Priority:
		return "priority"
	case l.timeout.Int64 != micros(w.Timeout):
		return "timeout"
	case w.MaxAttempts != 0 && l.maxAttempts != w.MaxAttempts:
		return "max_attempts"
	case !maps.Equal(l.metadata, w.Metadata):
		return "metadata"
	case l.runAt.Before(l.created.Add(time.Duration(micros(w.Delay)) * time.Microsecond)):
		return "delay"
	}
	return ""
}

// checkStarts looks for attempts that began before their time, by the clock of
// PostgreSQL: of what was delayed, as its client knows it; of everything, as it is
// stored.
func (r *run) checkStarts(p *report, lives []life) {
	type start struct {
		task string
		at   time.Time
	}
	first := map[string]time.Time{}
	for _, s := range rows(r.t, r.direct, func(row *sql.Rows, s *start) error { return row.Scan(&s.task, &s.at) },
		"SELECT task, min(at) FROM audit WHERE new_status = 'processing' GROUP BY task") {
		first[s.task] = s.at
	}
	byMessage := map[string]string{}
	for _, l := range lives {
		byMessage[l.message] = l.id
	}
	var early finding
	for _, s := range r.load.submissions {
		for _, w := range s.wishes {
			at, ok := first[byMessage[w.Message]]
			if w.Delay == 0 || !ok {
				continue
			}
			p.DelayedStarts++
			due := s.sent.Add(time.Duration(w.Delay * float64(time.Second)))
			if at.Before(due.Add(-agreed)) {
				early.add("task %q, submitted at %s with a delay of %g s, began at %s", w.Message, s.sent, w.Delay, at)
			}
		}
	}
	type noted struct {
		task      string
		runAt, at time.Time
	}
	for _, n := range rows(r.t, r.direct, func(row *sql.Rows, n *noted) error { return row.Scan(&n.task, &n.runAt, &n.at) },
		"SELECT task, run_at, at FROM audit WHERE new_status = 'processing' AND at < run_at") {
		p.EarliestStartMS = max(p.EarliestStartMS, ms(n.runAt.Sub(n.at)))
		if n.runAt.Sub(n.at) > agreed {
			early.add("task %s, to run at %s, began at %s", n.task, n.runAt, n.at)
		}
	}
	p.EarlyStarts = early.n
	early.report(r.t)
}
