package postgres

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/adapters/internal/sqlstatus"
	"github.com/millrace/millrace/adapters/postgres/internal/pgenc"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// search is a query that some task may match, its filter normalized.
type search struct {
	application.TaskQuery
	ids     domain.IDRange
	fewLive bool // there are no more tasks that wait or run than the window
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

// onlyLive reports whether all that is asked for waits or runs, and no other
// index narrows it down.
func (s *search) onlyLive() bool {
	return len(s.Statuses) > 0 && len(s.Metadata) == 0 && !slices.ContainsFunc(s.Statuses, domain.Status.Ended)
}

// rare returns the conditions of the partial indexes that have all that is asked
// for, one for each status; none if there is a status without such an index.
func (s *search) rare() []string {
	var conditions []string
	for _, status := range domain.Statuses() {
		if !slices.Contains(s.Statuses, status) {
			continue
		}
		if status != domain.StatusFailed && status != domain.StatusCanceled {
			return nil
		}
		conditions = append(conditions, sqlstatus.Is("t.", status))
	}
	return conditions
}

// live are the conditions of the partial indexes over what waits or runs.
var live = []string{unqueued, queued, processing}

// fewLiveSQL asks whether there are no more tasks that wait or run than $1.
var fewLiveSQL = "SELECT count(*) <= $1::bigint FROM (SELECT FROM (" + union(live, func(condition string) string {
	return "(SELECT FROM tasks AS t WHERE " + condition + " LIMIT $1::bigint + 1)"
}) + ") AS live LIMIT $1::bigint + 1) AS counted"

func union(conditions []string, each func(condition string) string) string {
	parts := make([]string, len(conditions))
	for i, c := range conditions {
		parts[i] = each(c)
	}
	return strings.Join(parts, " UNION ALL ")
}

// listSQL finds the tasks t that match, and the last of the window, which tells
// whether there are more below it.
func (s *search) listSQL(columns string) (query string, args []any) {
	var p pgenc.Params
	from, matches, window := s.candidates(&p), matchesSQL(s.TaskFilter, &p), p.Add(s.Window, "bigint")
	query = fmt.Sprintf(`SELECT %st.at, t.n, t.more, %s AS matched FROM (%s) AS t
		WHERE t.n <= %s AND (%s OR t.n = %s) ORDER BY t.at DESC LIMIT %s`,
		columns, matches, from, window, matches, window, p.Add(s.Limit, "bigint"))
	if s.Bytes > 0 {
		query = upToBytes(query, columns, p.Add(s.Bytes, "bigint"))
	}
	return query, p
}

// sizeSQL is about how many bytes a task t takes. It reads no text that is stored apart.
var sizeSQL = fmt.Sprintf("%d + octet_length(t.message) + octet_length(t.result) + octet_length(t.last_error)"+
	" + coalesce(pg_column_size(t.metadata), 0)", application.TaskOverhead)

// upToBytes leaves out of the query's tasks, which have these columns, those from which
// on they are larger than bytes together, except the first. The server reads and sends
// no text of what is left out.
func upToBytes(query, columns, bytes string) string {
	return fmt.Sprintf(`SELECT %st.at, t.n, t.more, t.matched, t.found FROM (
			SELECT t.*, count(*) OVER () AS found, row_number() OVER w AS place, sum(CASE WHEN t.matched THEN %s ELSE 0 END) OVER w AS bytes
			FROM (%s) AS t WINDOW w AS (ORDER BY t.at DESC)
		) AS t WHERE t.bytes <= %s OR t.place = 1 ORDER BY t.at DESC`, columns, sizeSQL, query, bytes)
}

// countSQL counts them.
func (s *search) countSQL() (query string, args []any) {
	var p pgenc.Params
	from, matches, window := s.candidates(&p), matchesSQL(s.TaskFilter, &p), p.Add(s.Window, "bigint")
	return fmt.Sprintf("SELECT count(*) FILTER (WHERE t.n <= %s AND %s), coalesce(max(t.n) <= %s, true) FROM (%s) AS t",
		window, matches, window, from), p
}

// candidates are the tasks t that the search looks at, from the newest to the one
// after the window, each with its id as at, its number n, and whether there are
// more. The LIMITs and the OFFSET keep the planner from moving into them what is
// asked of the tasks outside.
func (s *search) candidates(p *pgenc.Params) string {
	if s.fewLive { // with bounds of ids inside, the primary key would be another way to find them
		return "SELECT t.*, t.id AS at, 0 AS n, false AS more FROM (" + union(live, func(condition string) string {
			return "(SELECT t.* FROM tasks AS t WHERE " + condition + " OFFSET 0)"
		}) + ") AS t WHERE " + s.bounds("t.id", p)
	}
	limit := p.Add(s.Window+1, "bigint")
	if len(s.Metadata) > 0 {
		key := slices.Min(slices.Collect(maps.Keys(s.Metadata)))
		m := "SELECT m.task_id AS id FROM task_metadata AS m WHERE m.key = " + p.Add(key, "text") +
			" AND m.value = " + p.Add(s.Metadata[key], "text") + " AND " + s.bounds("m.task_id", p) +
			" ORDER BY m.task_id DESC LIMIT " + limit
		return "SELECT t.*, m.at, m.n, m.more FROM (SELECT " + numbering + " FROM (" + m + ") AS t WINDOW w AS (ORDER BY t.id DESC)) AS m" +
			" CROSS JOIN LATERAL (SELECT * FROM tasks AS t WHERE t.id = m.at LIMIT 1) AS t"
	}
	conditions := s.rare()
	if len(conditions) == 0 {
		conditions = []string{"true"}
	}
	from := union(conditions, func(condition string) string {
		return "(SELECT t.* FROM tasks AS t WHERE " + condition + " AND " + s.bounds("t.id", p) + " ORDER BY t.id DESC LIMIT " + limit + ")"
	})
	return "SELECT t.*, " + numbering + " FROM (SELECT * FROM (" + from + ") AS t ORDER BY t.id DESC LIMIT " + limit + ") AS t" +
		" WINDOW w AS (ORDER BY t.id DESC)"
}

const numbering = "t.id AS at, row_number() OVER w AS n, lead(t.id) OVER w IS NOT NULL AS more"

func (s *search) bounds(id string, p *pgenc.Params) string {
	condition := "true"
	if before := s.ids.Before; before != (domain.TaskID{}) {
		condition += " AND " + id + " < " + p.Add(before.String(), "uuid")
	}
	if from := s.ids.From; from != (domain.TaskID{}) {
		condition += " AND " + id + " >= " + p.Add(from.String(), "uuid")
	}
	return condition
}

// matchesSQL is what a normalized filter asks of a task t, all of it.
func matchesSQL(f domain.TaskFilter, p *pgenc.Params) string {
	conditions := []string{"true"}
	and := func(condition string, value any, sqlType string) {
		conditions = append(conditions, fmt.Sprintf(condition, p.Add(value, sqlType)))
	}
	if len(f.Statuses) > 0 {
		and("t.status = ANY(%s)", pgenc.Texts(f.Statuses), "text[]")
	}
	if len(f.Queues) > 0 {
		and("t.queue = ANY(%s)", pgenc.Texts(f.Queues), "text[]")
	}
	for _, bound := range []struct {
		condition string
		at        time.Time
	}{
		{"t.created_at >= %s", f.CreatedFrom},
		{"t.created_at < %s", f.CreatedBefore},
		{"t.updated_at >= %s", f.FinishedFrom},
		{"t.updated_at < %s", f.FinishedBefore},
	} {
		if !bound.at.IsZero() {
			and(bound.condition, bound.at, "timestamptz")
		}
	}
	if len(f.Metadata) > 0 {
		and("t.metadata @> %s", metadataText(f.Metadata), "jsonb")
	}
	if f.Text != "" {
		and("position(%s IN t.message) > 0", f.Text, "text")
	}
	return "(" + strings.Join(conditions, " AND ") + ")"
}
