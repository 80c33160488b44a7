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

// searchPlan is one way to search: along one or more indexes that are in the order of ids
// and together hold all that can match, once each.
type searchPlan []indexRange

// indexRange is a part of an index.
type indexRange struct {
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
func (plan searchPlan) candidates() (query string, args []any) {
	return plan.union(func(r indexRange) (string, conditions) { return "SELECT " + r.id + " AS id FROM " + r.from, r.where })
}

// matches is the query for what matches, down to the end if there is one.
func (plan searchPlan) matches(columns string, end domain.TaskID) (query string, args []any) {
	return plan.union(func(r indexRange) (string, conditions) {
		where := r.where.and(r.match)
		if end != (domain.TaskID{}) {
			where.add(r.id+" >= ?", taskID(end))
		}
		return "SELECT " + columns + " FROM " + r.from + r.join, where
	})
}

func (plan searchPlan) union(part func(indexRange) (string, conditions)) (query string, args []any) {
	parts := make([]string, len(plan))
	for i, r := range plan {
		query, where := part(r)
		parts[i] = query + where.String()
		args = append(args, where.args...)
	}
	return strings.Join(parts, " UNION ALL "), args
}

// newestFirst orders either query, without sorting.
func (plan searchPlan) newestFirst() string {
	if len(plan) == 1 {
		return " ORDER BY " + plan[0].id + " DESC"
	}
	return " ORDER BY id DESC" // of what the parts have in common
}

// search is a query that some task may match, its filter normalized.
type search struct {
	application.TaskQuery
	ids domain.IDRange
}

// searchOf works out what the query means; false: no task can match.
func searchOf(q application.TaskQuery) (s *search, ok bool) {
	filter, ok := q.TaskFilter.Normalize()
	if !ok {
		return nil, false
	}
	q.TaskFilter = filter
	return &search{TaskQuery: q, ids: filter.IDs().Below(q.Before)}, true
}

// plans are the ways to search. Each says which index it takes: a bound must not hang on
// statistics.
func (s *search) plans() []searchPlan {
	plans := s.metadataPlans()
	match := s.matches("")
	if rare := s.rarePlan(match); rare != nil {
		plans = append(plans, rare)
	}
	if len(plans) == 0 { // the last resort: all tasks
		plans = []searchPlan{{{from: "tasks AS t INDEXED BY sqlite_autoindex_tasks_1", id: "t.id", where: s.bounds("t.id"), match: match}}}
	}
	return plans
}

// matches is what a normalized filter asks of a task t, all of it but the pair of one key.
func (s *search) matches(exceptKey string) conditions {
	f := s.TaskFilter
	var match conditions
	if len(f.Statuses) > 0 {
		match.add("t.status IN ("+placeholders(len(f.Statuses))+")", argsOf(f.Statuses)...)
	}
	if len(f.Queues) > 0 {
		match.add("t.queue IN ("+placeholders(len(f.Queues))+")", argsOf(f.Queues)...)
	}
	addRange(&match, "t.created_at", f.CreatedFrom, f.CreatedBefore)
	addRange(&match, "t.updated_at", f.FinishedFrom, f.FinishedBefore)
	if f.Text != "" {
		match.add("instr(t.message, ?) > 0", f.Text)
	}
	for _, key := range slices.Sorted(maps.Keys(f.Metadata)) {
		if key != exceptKey {
			match.add("EXISTS (SELECT 1 FROM task_metadata AS o WHERE o.key = ? AND o.value = ? AND o.task_id = t.id)", key, f.Metadata[key])
		}
	}
	return match
}

// metadataPlans go along each of the pairs.
func (s *search) metadataPlans() []searchPlan {
	var plans []searchPlan
	for _, key := range slices.Sorted(maps.Keys(s.Metadata)) {
		r := indexRange{
			from: "task_metadata AS m", join: " CROSS JOIN tasks AS t ON t.id = m.task_id", id: "m.task_id",
			where: s.bounds("m.task_id"), match: s.matches(key),
		}
		r.where.add("m.key = ? AND m.value = ?", key, s.Metadata[key])
		plans = append(plans, searchPlan{r})
	}
	return plans
}

// statusIndexes are the partial indexes of the tasks that are rare among all: most have
// completed.
var statusIndexes = []struct {
	statuses []domain.Status
	name     string
}{
	{sqlstatus.Open(), "tasks_open"},
	{[]domain.Status{domain.StatusFailed}, "tasks_failed"},
	{[]domain.Status{domain.StatusCanceled}, "tasks_canceled"},
}

// rarePlan goes along the partial indexes that have all that is asked for; nil if there
// is a status without such an index.
func (s *search) rarePlan(match conditions) searchPlan {
	if len(s.Statuses) == 0 || slices.Contains(s.Statuses, domain.StatusCompleted) {
		return nil
	}
	var plan searchPlan
	for _, index := range statusIndexes {
		if slices.ContainsFunc(index.statuses, func(status domain.Status) bool { return slices.Contains(s.Statuses, status) }) {
			r := indexRange{from: "tasks AS t INDEXED BY " + index.name, id: "t.id", where: s.bounds("t.id"), match: match}
			r.where.add(sqlstatus.Is("t.", index.statuses...))
			plan = append(plan, r)
		}
	}
	return plan
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

// bounds are those of the ids that the search looks at.
func (s *search) bounds(id string) conditions {
	var c conditions
	if s.ids.Before != (domain.TaskID{}) {
		c.add(id+" < ?", taskID(s.ids.Before))
	}
	if s.ids.From != (domain.TaskID{}) {
		c.add(id+" >= ?", taskID(s.ids.From))
	}
	return c
}

func placeholders(n int) string { return strings.TrimSuffix(strings.Repeat("?, ", n), ", ") }

func argsOf[T any](values []T) []any {
	all := make([]any, len(values))
	for i, v := range values {
		all[i] = v
	}
	return all
}
