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
func (r *run) checkSubmissions(p *report, stored []storedTask) {
	c := &submissionCheck{byMessage: make(map[string]storedTask, len(stored)), keys: map[string]key{}}
	for _, t := range stored { // those that are there twice are looked for elsewhere
		c.byMessage[t.message] = t
	}
	for _, k := range rows(r.t, r.direct, func(row *sql.Rows, k *key) error { return row.Scan(&k.name, pq.Array(&k.ids)) },
		"SELECT key, task_ids FROM idempotency_keys") {
		c.keys[k.name] = k
	}
	p.Keys = len(c.keys)
	for _, s := range r.load.submissions {
		ids := c.idsOf(s)
		if s.batch && len(ids) > 0 {
			p.Batches++
		}
		c.check(s, ids)
	}
	for k := range c.keys {
		c.unkeyed.add("the key %q is stored, and belongs to no request that may have been accepted", k)
	}
	p.TornSubmissions, p.KeysWithOtherTasks = c.torn.n, c.unkeyed.n
	for _, f := range []*finding{&c.torn, &c.refused, &c.other, &c.unkeyed} {
		f.report(r.t)
	}
}

// submissionCheck compares submissions with what is stored.
type submissionCheck struct {
	byMessage                     map[string]storedTask
	keys                          map[string]key // those of no submission that was checked
	torn, refused, other, unkeyed finding
}

// idsOf are the stored tasks of a submission.
func (c *submissionCheck) idsOf(s *submission) (ids []string) {
	for _, spec := range s.specs {
		t, ok := c.byMessage[spec.Message]
		if !ok {
			continue
		}
		ids = append(ids, t.id)
		if why := t.differs(spec); why != "" {
			c.other.add("task %s, %q, is stored with another %s than it was submitted with", t.id, spec.Message, why)
		}
	}
	return ids
}

func (c *submissionCheck) check(s *submission, ids []string) {
	switch {
	case s.wrong:
		if len(ids) > 0 {
			c.refused.add("%d tasks are stored of a batch that has to be refused: %q", len(ids), s.specs[0].Message)
		}
		return
	case len(ids) != 0 && len(ids) != len(s.specs):
		c.torn.add("%d of %d tasks are stored of %q", len(ids), len(s.specs), s.specs[0].Message)
	case s.answered && !slices.Equal(ids, s.ids):
		c.other.add("%q was answered with the tasks %q, and %q are stored", s.specs[0].Message, s.ids, ids)
	}
	if s.key == "" {
		return
	}
	if k := c.keys[s.key]; !slices.Equal(k.ids, ids) {
		c.unkeyed.add("the key %q is stored with the tasks %q, and %q are stored", s.key, k.ids, ids)
	}
	delete(c.keys, s.key)
}

// differs says in what the stored task differs from what was asked for.
func (t storedTask) differs(w taskSpec) string {
	micros := func(seconds float64) int64 { return int64(math.Round(seconds * 1e6)) }
	switch {
	case t.queue != w.queue():
		return "queue"
	case t.priority != w.Priority:
		return "priority"
	case t.timeout.Int64 != micros(w.Timeout):
		return "timeout"
	case w.MaxAttempts != 0 && t.maxAttempts != w.MaxAttempts:
		return "max_attempts"
	case !maps.Equal(t.metadata, w.Metadata):
		return "metadata"
	case t.runAt.Before(t.created.Add(time.Duration(micros(w.Delay)) * time.Microsecond)):
		return "delay"
	}
	return ""
}

// checkStarts looks for attempts that began before their time, by the clock of
// PostgreSQL: of what was delayed, as its client knows it; of everything, as it is
// stored.
func (r *run) checkStarts(p *report, stored []storedTask) {
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
	for _, t := range stored {
		byMessage[t.message] = t.id
	}
	var early finding
	for _, s := range r.load.submissions {
		for _, w := range s.specs {
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
