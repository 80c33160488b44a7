package postgres

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/millrace/millrace/adapters/postgres/internal/pgenc"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// search is a query that some task may match, and what it means for ids.
type search struct {
	application.TaskQuery
	from, below domain.TaskID // inclusive, exclusive; zero: no bound
	fewLive     bool          // there are no more tasks that wait or run than the window
}

// searchOf works out what the query means; false: no task can match.
//
// A task's id tells the millisecond of its creation, and no task ends before that.
// One that was made elsewhere, with an id of another kind, is found by its time
// only as far as its id agrees.
func searchOf(q application.TaskQuery) (s *search, ok bool) {
	if !sayable(q.TaskFilter) || emptyRange(q.CreatedFrom, q.CreatedBefore) || emptyRange(q.FinishedFrom, q.FinishedBefore) {
		return nil, false
	}
	if !q.FinishedFrom.IsZero() || !q.FinishedBefore.IsZero() {
		statuses := q.Statuses
		if len(statuses) == 0 {
			statuses = domain.Statuses()
		}
		q.Statuses = slices.DeleteFunc(slices.Clone(statuses), func(s domain.Status) bool { return !s.Ended() })
		if len(q.Statuses) == 0 {
			return nil, false
		}
	}
	s = &search{TaskQuery: q, below: q.Before}
	if !q.CreatedFrom.IsZero() {
		s.from = firstID(q.CreatedFrom)
	}
	for _, before := range []time.Time{q.CreatedBefore, q.FinishedBefore} {
		if before.IsZero() {
			continue
		}
		first := firstID(before.Add(time.Millisecond - 1)) // of the next millisecond, unless it is a whole one
		if s.below == (domain.TaskID{}) || first != (domain.TaskID{}) && slices.Compare(first[:], s.below[:]) < 0 {
			s.below = first
		}
	}
	return s, true
}

// sayable reports whether what the filter asks for can stand in a text at all.
func sayable(f application.TaskFilter) bool {
	texts := []string{f.Text}
	for key, value := range f.Metadata {
		texts = append(texts, key, value)
	}
	return !slices.ContainsFunc(texts, func(s string) bool { return !utf8.ValidString(s) || strings.ContainsRune(s, 0) })
}

func emptyRange(from, before time.Time) bool { return !before.IsZero() && !from.Before(before) }

// firstID is below every id of that millisecond and later ones, and above those
// of earlier ones; zero for a time that no id can tell.
func firstID(t time.Time) (id domain.TaskID) {
	if millis := t.UnixMilli(); 0 < millis && millis < 1<<48 {
		binary.BigEndian.PutUint64(id[:], uint64(millis)<<16)
	}
	return id
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
		conditions = append(conditions, "t.status = '"+string(status)+"'")
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
	return fmt.Sprintf(`SELECT %st.at, t.n, t.more, %s AS matched FROM (%s) AS t
		WHERE t.n <= %s AND (%s OR t.n = %s) ORDER BY t.at DESC LIMIT %s`,
		columns, matches, from, window, matches, window, p.Add(s.Limit, "bigint")), p
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
	if s.below != (domain.TaskID{}) {
		condition += " AND " + id + " < " + p.Add(s.below.String(), "uuid")
	}
	if s.from != (domain.TaskID{}) {
		condition += " AND " + id + " >= " + p.Add(s.from.String(), "uuid")
	}
	return condition
}

// matchesSQL is what the filter asks of a task t, all of it. Ranges of the end
// need the statuses of searchOf.
func matchesSQL(f application.TaskFilter, p *pgenc.Params) string {
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
		if !bound.at.IsZero() { // between two moments, the next one bounds the same
			and(bound.condition, moment(bound.at.Add(time.Microsecond-1)), "timestamptz")
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
