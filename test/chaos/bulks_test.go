package chaos

import (
	"database/sql"
	"time"
)

// awaitBulks waits until every action on many tasks is done.
func (r *run) awaitBulks() {
	r.t.Helper()
	const left = "SELECT count(*) FROM bulks WHERE done_at IS NULL"
	limit := r.pace.stretch(endLimit)
	for end := time.Now().Add(limit); number(r.t, r.direct, left) > 0; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			r.t.Errorf("%d actions on many tasks are not done within %s", number(r.t, r.direct, left), limit)
			return
		}
	}
}

// storedBulk is an action on many tasks as PostgreSQL has it at the end.
type storedBulk struct {
	id, action, group string
	changed           int
	done              time.Time // its last change was committed
}

// checkBulks compares what actions on many tasks say of themselves with what was
// done: nobody else cancels or reopens a task that belongs to a group. It notes
// for the history when each was done.
func (r *run) checkBulks(p *report) {
	stored := map[string]storedBulk{}
	said := map[string]int{}
	for _, b := range rows(r.t, r.direct, func(row *sql.Rows, b *storedBulk) error {
		return row.Scan(&b.id, &b.action, &b.group, &b.changed, &b.done)
	}, `SELECT id, action, coalesce(substring(filter::text FROM 'group-[0-9]+'), ''), changed, pg_xact_commit_timestamp(xmin) FROM bulks`) {
		stored[b.id] = b
		said[b.action] += b.changed
		p.Bulks++
		p.BulkChanges += b.changed
	}
	const grouped = `SELECT count(*) FROM audit AS a JOIN tasks AS t ON t.id = a.task WHERE t.metadata ? 'group' AND `
	p.Reopened = number(r.t, r.direct, grouped+`a.old_status = 'failed' AND a.new_status = 'pending'`)
	for action, done := range map[string]int{"cancel": number(r.t, r.direct, grouped+`a.new_status = 'canceled'`), "retry": p.Reopened} {
		if said[action] != done {
			p.BulksMiscounted++
			r.t.Errorf("the actions to %s say that they have changed %d tasks, and %d were changed", action, said[action], done)
		}
	}

	moves := r.moves()
	var lost, missed finding
	for _, b := range r.load.bulks {
		if b.id == "" {
			continue
		}
		s, ok := stored[b.id]
		if !ok || s.action != b.action || s.group != b.group {
			lost.add("action %s was accepted, to %s %q, and stored is %+v", b.id, b.action, b.group, s)
			continue
		}
		b.ended = s.done.Add(r.pace.stretch(obeyed)).Sub(r.load.begun).Nanoseconds() // what is committed is seen as soon as it is flushed
		r.checkReach(b, s, moves, &missed)
	}
	p.BulksLost, p.BulkMissed = lost.n, missed.n
	lost.report(r.t)
	missed.report(r.t)
}

// change is what a task has become, and when that was committed.
type change struct {
	task   string
	status status
	at     time.Time
}

// moves are the changes of each task, one after the other.
func (r *run) moves() map[string][]change {
	moves := map[string][]change{}
	for _, c := range rows(r.t, r.direct, func(row *sql.Rows, c *change) error { return row.Scan(&c.task, &c.status, &c.at) },
		"SELECT task, new_status, pg_xact_commit_timestamp(xmin) FROM audit ORDER BY n") {
		moves[c.task] = append(moves[c.task], c)
	}
	return moves
}

// checkReach: an action has changed what it is about and what was in the state for
// it, from before it was asked for until it was done.
func (r *run) checkReach(b *bulk, s storedBulk, moves map[string][]change, missed *finding) {
	from, before := b.sent.Add(-2*agreed), pending // two APIs may differ by as much
	if b.action == "retry" {
		before = failed
	}
	for _, a := range r.load.accepted {
		if !b.means(a.group) || a.at.After(from) {
			continue
		}
		was, left := pending, time.Time{} // never
		for _, c := range moves[a.id] {
			if c.at.After(from) {
				left = c.at
				break
			}
			was = c.status
		}
		if was == before && (left.IsZero() || left.After(s.done)) {
			missed.add("task %s, %q, accepted at %s, was %s until %s, though action %s to %s %q began at %s and was done at %s",
				a.id, a.key, a.at, was, left, b.id, b.action, b.group, b.sent, s.done)
		}
	}
}
