package sqlite

import (
	"encoding/binary"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// look is a way to search: along one or more indexes that are in the order of ids
// and together hold all that can match, once each.
type look []place

// place is a part of an index.
type place struct {
	from  string     // the index
	join  string     // the tasks, as t, unless they are in from
	id    string     // the column that it goes along
	where conditions // which candidates there are
	match conditions // which of them match
}

// conditions are joined by AND.
type conditions struct {
	sql  []string
	args []any
}

func (c *conditions) add(sql string, args ...any) {
	c.sql, c.args = append(c.sql, sql), append(c.args, args...)
}

func (c conditions) and(other conditions) conditions {
	return conditions{slices.Concat(c.sql, other.sql), slices.Concat(c.args, other.args)}
}

func (c conditions) String() string {
	if len(c.sql) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(c.sql, " AND ")
}

// candidates is the query for the ids of what it looks at.
func (l look) candidates() (query string, args []any) {
	return l.union(func(p place) (string, conditions) { return "SELECT " + p.id + " AS id FROM " + p.from, p.where })
}

// matches is the query for what matches, down to the end if there is one.
func (l look) matches(columns string, end domain.TaskID) (query string, args []any) {
	return l.union(func(p place) (string, conditions) {
		where := p.where.and(p.match)
		if end != (domain.TaskID{}) {
			where.add(p.id+" >= ?", taskID(end))
		}
		return "SELECT " + columns + " FROM " + p.from + p.join, where
	})
}

func (l look) union(part func(place) (string, conditions)) (query string, args []any) {
	parts := make([]string, len(l))
	for i, p := range l {
		query, where := part(p)
		parts[i] = query + where.String()
		args = append(args, where.args...)
	}
	return strings.Join(parts, " UNION ALL "), args
}

// newestFirst orders either query, without sorting.
func (l look) newestFirst() string {
	if len(l) == 1 {
		return " ORDER BY " + l[0].id + " DESC"
	}
	return " ORDER BY id DESC" // of what the parts have in common
}

// looksFor are the ways to search, none if nothing can match. Each says which index
// it takes: a bound must not hang on statistics.
func looksFor(q application.TaskQuery) []look {
	statuses, ok := statusesOf(q.TaskFilter)
	if !ok || !storable(q.TaskFilter) {
		return nil
	}
	var match conditions
	if len(statuses) > 0 {
		match.add("t.status IN ("+marks(len(statuses))+")", anys(statuses)...)
	}
	if len(q.Queues) > 0 {
		match.add("t.queue IN ("+marks(len(q.Queues))+")", anys(q.Queues)...)
	}
	addRange(&match, "t.created_at", q.CreatedFrom, q.CreatedBefore)
	addRange(&match, "t.updated_at", q.FinishedFrom, q.FinishedBefore)
	if q.Text != "" {
		match.add("instr(t.message, ?) > 0", q.Text)
	}
	ways := byMetadata(q, match)
	match = metadataMatch(match, q.Metadata, "")
	if rare := byStatus(q, statuses, match); rare != nil {
		ways = append(ways, rare)
	}
	if len(ways) == 0 { // the last resort: all tasks
		ways = []look{{{from: "tasks AS t INDEXED BY sqlite_autoindex_tasks_1", id: "t.id", where: within(q, "t.id"), match: match}}}
	}
	return ways
}

// byMetadata are the ways along each of the pairs.
func byMetadata(q application.TaskQuery, match conditions) []look {
	var ways []look
	for _, key := range slices.Sorted(maps.Keys(q.Metadata)) {
		p := place{
			from: "task_metadata AS m", join: " CROSS JOIN tasks AS t ON t.id = m.task_id", id: "m.task_id",
			where: within(q, "m.task_id"), match: metadataMatch(match, q.Metadata, key),
		}
		p.where.add("m.key = ? AND m.value = ?", key, q.Metadata[key])
		ways = append(ways, look{p})
	}
	return ways
}

// metadataMatch adds all pairs but that of one key.
func metadataMatch(match conditions, pairs map[string]string, except string) conditions {
	match = match.and(conditions{})
	for _, key := range slices.Sorted(maps.Keys(pairs)) {
		if key != except {
			match.add("EXISTS (SELECT 1 FROM task_metadata AS o WHERE o.key = ? AND o.value = ? AND o.task_id = t.id)", key, pairs[key])
		}
	}
	return match
}

// rarities are the indexes of tasks by status, with their conditions to the letter.
var rarities = []struct {
	statuses []domain.Status
	from     string
	where    string
}{
	{[]domain.Status{domain.StatusPending, domain.StatusProcessing}, "tasks_open", "(t.status = 'pending' OR t.status = 'processing')"},
	{[]domain.Status{domain.StatusFailed}, "tasks_failed", "t.status = 'failed'"},
	{[]domain.Status{domain.StatusCanceled}, "tasks_canceled", "t.status = 'canceled'"},
}

// byStatus is the way along the tasks that are rare among all, if those are meant,
// or else nil: most tasks have completed.
func byStatus(q application.TaskQuery, statuses []domain.Status, match conditions) look {
	if len(statuses) == 0 || slices.Contains(statuses, domain.StatusCompleted) {
		return nil
	}
	var l look
	for _, r := range rarities {
		if slices.ContainsFunc(r.statuses, func(s domain.Status) bool { return slices.Contains(statuses, s) }) {
			p := place{from: "tasks AS t INDEXED BY " + r.from, id: "t.id", where: within(q, "t.id"), match: match}
			p.where.add(r.where)
			l = append(l, p)
		}
	}
	return l
}

// statusesOf are the statuses that are meant, each once; none for any. Only what
// has ended has an end. ok is false if no status is possible.
func statusesOf(f application.TaskFilter) (statuses []domain.Status, ok bool) {
	ended := !f.FinishedFrom.IsZero() || !f.FinishedBefore.IsZero()
	for _, s := range domain.Statuses() {
		if (len(f.Statuses) == 0 || slices.Contains(f.Statuses, s)) && (!ended || s.Ended()) {
			statuses = append(statuses, s)
		}
	}
	if len(statuses) == len(domain.Statuses()) {
		return nil, true
	}
	return statuses, len(statuses) > 0
}

// storable reports whether a task can have such texts at all. SQLite compares
// bytes, and might take a part of a character for a match.
func storable(f application.TaskFilter) bool {
	texts := append(slices.Collect(maps.Keys(f.Metadata)), slices.Collect(maps.Values(f.Metadata))...)
	return !slices.ContainsFunc(append(texts, f.Text), func(s string) bool {
		return !utf8.ValidString(s) || strings.ContainsRune(s, 0)
	})
}

// addRange adds that a time, of whole microseconds, is in the range.
func addRange(c *conditions, column string, from, before time.Time) {
	if !from.IsZero() {
		c.add(column+" >= ?", roundedUp(from))
	}
	if !before.IsZero() {
		c.add(column+" < ?", roundedUp(before))
	}
}

func roundedUp(at time.Time) instant {
	cut := at.Truncate(time.Microsecond)
	if cut.Before(at) {
		cut = cut.Add(time.Microsecond)
	}
	return instant{cut}
}

// within is the range of ids to look at. An id begins with the millisecond in which
// its task was created, and no task ends before that.
func within(q application.TaskQuery, column string) conditions {
	var c conditions
	if q.Before != (domain.TaskID{}) {
		c.add(column+" < ?", taskID(q.Before))
	}
	if !q.CreatedFrom.IsZero() {
		c.add(column+" >= ?", firstID(q.CreatedFrom.UnixMilli()))
	}
	for _, before := range []time.Time{q.CreatedBefore, q.FinishedBefore} {
		if !before.IsZero() {
			c.add(column+" < ?", firstID(before.UnixMilli()+1))
		}
	}
	return c
}

// firstID is not above any id of that millisecond since 1970.
func firstID(millis int64) taskID {
	const most = 1<<48 - 1
	var id taskID
	binary.BigEndian.PutUint64(id[:8], uint64(min(max(millis, 0), most))<<16)
	return id
}

func marks(n int) string { return strings.TrimSuffix(strings.Repeat("?, ", n), ", ") }

func anys[T any](values []T) []any {
	all := make([]any, len(values))
	for i, v := range values {
		all[i] = v
	}
	return all
}
