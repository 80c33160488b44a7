package sqlite

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/adapters/internal/sqlstatus"
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
	f, ok := q.TaskFilter.Normalize()
	if !ok {
		return nil
	}
	ids := f.IDs().Below(q.Before)
	var match conditions
	if len(f.Statuses) > 0 {
		match.add("t.status IN ("+marks(len(f.Statuses))+")", anys(f.Statuses)...)
	}
	if len(f.Queues) > 0 {
		match.add("t.queue IN ("+marks(len(f.Queues))+")", anys(f.Queues)...)
	}
	addRange(&match, "t.created_at", f.CreatedFrom, f.CreatedBefore)
	addRange(&match, "t.updated_at", f.FinishedFrom, f.FinishedBefore)
	if f.Text != "" {
		match.add("instr(t.message, ?) > 0", f.Text)
	}
	ways := byMetadata(ids, f.Metadata, match)
	match = metadataMatch(match, f.Metadata, "")
	if rare := byStatus(ids, f.Statuses, match); rare != nil {
		ways = append(ways, rare)
	}
	if len(ways) == 0 { // the last resort: all tasks
		ways = []look{{{from: "tasks AS t INDEXED BY sqlite_autoindex_tasks_1", id: "t.id", where: within(ids, "t.id"), match: match}}}
	}
	return ways
}

// byMetadata are the ways along each of the pairs.
func byMetadata(ids domain.IDRange, pairs map[string]string, match conditions) []look {
	var ways []look
	for _, key := range slices.Sorted(maps.Keys(pairs)) {
		p := place{
			from: "task_metadata AS m", join: " CROSS JOIN tasks AS t ON t.id = m.task_id", id: "m.task_id",
			where: within(ids, "m.task_id"), match: metadataMatch(match, pairs, key),
		}
		p.where.add("m.key = ? AND m.value = ?", key, pairs[key])
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

// rarities are the indexes of tasks by status.
var rarities = []struct {
	statuses []domain.Status
	from     string
}{
	{sqlstatus.Open(), "tasks_open"},
	{[]domain.Status{domain.StatusFailed}, "tasks_failed"},
	{[]domain.Status{domain.StatusCanceled}, "tasks_canceled"},
}

// byStatus is the way along the tasks that are rare among all, if those are meant,
// or else nil: most tasks have completed.
func byStatus(ids domain.IDRange, statuses []domain.Status, match conditions) look {
	if len(statuses) == 0 || slices.Contains(statuses, domain.StatusCompleted) {
		return nil
	}
	var l look
	for _, r := range rarities {
		if slices.ContainsFunc(r.statuses, func(s domain.Status) bool { return slices.Contains(statuses, s) }) {
			p := place{from: "tasks AS t INDEXED BY " + r.from, id: "t.id", where: within(ids, "t.id"), match: match}
			p.where.add(sqlstatus.Is("t.", r.statuses...))
			l = append(l, p)
		}
	}
	return l
}

// addRange adds that a time is in the range.
func addRange(c *conditions, column string, from, before time.Time) {
	if !from.IsZero() {
		c.add(column+" >= ?", instant{from})
	}
	if !before.IsZero() {
		c.add(column+" < ?", instant{before})
	}
}

// within is a range of ids to look at.
func within(ids domain.IDRange, column string) conditions {
	var c conditions
	if ids.Before != (domain.TaskID{}) {
		c.add(column+" < ?", taskID(ids.Before))
	}
	if ids.From != (domain.TaskID{}) {
		c.add(column+" >= ?", taskID(ids.From))
	}
	return c
}

func marks(n int) string { return strings.TrimSuffix(strings.Repeat("?, ", n), ", ") }

func anys[T any](values []T) []any {
	all := make([]any, len(values))
	for i, v := range values {
		all[i] = v
	}
	return all
}
