package sqlite

import (
	"context"

	"github.com/jmoiron/sqlx"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

var _ application.TaskSearch = (*TaskSearch)(nil)

// TaskSearch finds tasks, in a file.
type TaskSearch struct{ db *DB }

// NewTaskSearch makes the search of an open and migrated file.
func NewTaskSearch(db *DB) *TaskSearch { return &TaskSearch{db: db} }

// List returns tasks that match, newest first.
func (s *TaskSearch) List(ctx context.Context, q application.TaskQuery) (application.SearchResult, error) {
	if err := s.db.file.check(); err != nil {
		return application.SearchResult{}, err
	}
	rows, end, full, err := find(ctx, s.db.reader, taskColumns, q)
	if err != nil {
		return application.SearchResult{}, s.db.translate(err)
	}
	found := application.SearchResult{Tasks: make([]*domain.Task, 0, len(rows)), End: end, Full: full}
	for _, row := range rows {
		if t, err := row.task(); err == nil {
			found.Tasks = append(found.Tasks, t)
		} else { // it must not hide the others
			found.Omitted = append(found.Omitted, domain.TaskID(row.ID))
		}
	}
	return found, nil
}

// Count counts what matches among the latest tasks that it looks at.
func (s *TaskSearch) Count(ctx context.Context, q application.TaskQuery) (n int, all bool, err error) {
	if err := s.db.file.check(); err != nil {
		return 0, false, err
	}
	plan, err := choosePlan(ctx, s.db.reader, q)
	if err != nil || plan == nil {
		return 0, err == nil, s.db.translate(err)
	}
	end, err := windowEnd(ctx, s.db.reader, plan, q.Window)
	if err != nil {
		return 0, false, s.db.translate(err)
	}
	query, args := plan.matches("1", end)
	if err := s.db.reader.GetContext(ctx, &n, "SELECT count(*) FROM ("+query+")", args...); err != nil {
		return 0, false, s.db.translate(err)
	}
	return n, end == domain.TaskID{}, nil
}

// find returns the rows that match, of these columns, newest first, and where it stopped because it
// had looked at as many as it may, or because they are as large as they may be. What
// changes between its queries does no harm: the last one sees one moment, and looks at
// all candidates down to the end.
func find(ctx context.Context, x sqlx.QueryerContext, columns string, q application.TaskQuery) (found []*taskRow, end domain.TaskID, full bool, err error) {
	plan, err := choosePlan(ctx, x, q)
	if err != nil || plan == nil {
		return nil, domain.TaskID{}, false, err
	}
	if end, err = windowEnd(ctx, x, plan, q.Window); err != nil {
		return nil, domain.TaskID{}, false, err
	}
	query, args := plan.matches(columns, end)
	rows, err := x.QueryxContext(ctx, query+plan.newestFirst()+" LIMIT ?", append(args, q.Limit)...)
	if err != nil {
		return nil, domain.TaskID{}, false, err
	}
	found, full, err = readUpTo(rows, q.Bytes)
	switch {
	case err != nil:
		return nil, domain.TaskID{}, false, err
	case full:
		end = domain.TaskID(found[len(found)-1].ID)
	case len(found) == q.Limit:
		end = domain.TaskID{}
	}
	return found, end, full, nil
}

// readUpTo reads rows one by one, and stops before they are larger than bytes together
// if that is not 0: full.
func readUpTo(rows *sqlx.Rows, bytes int) (found []*taskRow, full bool, err error) {
	defer rows.Close() //nolint:errcheck // rows.Err says what went wrong
	for total := 0; rows.Next(); {
		row := new(taskRow)
		if err := rows.StructScan(row); err != nil {
			return nil, false, err
		}
		if total += row.size(); bytes > 0 && total > bytes && len(found) > 0 {
			return found, true, nil
		}
		found = append(found, row)
	}
	return found, false, rows.Err()
}

// windowEnd is the last candidate of the window; zero if there are no more.
func windowEnd(ctx context.Context, x sqlx.QueryerContext, plan searchPlan, window int) (domain.TaskID, error) {
	query, args := plan.candidates()
	var last []taskID // and the one after it
	if err := sqlx.SelectContext(ctx, x, &last, query+plan.newestFirst()+" LIMIT 2 OFFSET ?", append(args, window-1)...); err != nil || len(last) < 2 {
		return domain.TaskID{}, err
	}
	return domain.TaskID(last[0]), nil
}

// maxCounted is how many candidates are counted to find out where there are few.
const maxCounted = 1000

// choosePlan is, of all ways to search, the one with the fewest candidates; nil if
// nothing can match.
func choosePlan(ctx context.Context, x sqlx.QueryerContext, q application.TaskQuery) (searchPlan, error) {
	s, ok := searchOf(q)
	if !ok {
		return nil, nil
	}
	plans := s.plans()
	if len(plans) == 1 {
		return plans[0], nil
	}
	best, fewest := 0, maxCounted
	for i, plan := range plans {
		query, args := plan.candidates()
		var n int
		if err := sqlx.GetContext(ctx, x, &n, "SELECT count(*) FROM ("+query+" LIMIT ?)", append(args, fewest)...); err != nil {
			return nil, err
		}
		if n < fewest {
			best, fewest = i, n
		}
	}
	return plans[best], nil
}
