package application

import (
	"context"

	"github.com/millrace/millrace/domain"
)

// TaskSearch finds tasks. The cost of a search is bounded however many tasks there
// are: it looks at no more than so many of them.
type TaskSearch interface {
	// List returns tasks that match, newest first: by id, downwards. It holds no more
	// in memory than q.Bytes, and one task: however large the tasks are, and at once.
	List(ctx context.Context, q TaskQuery) (SearchResult, error)
	// Count counts what matches among the latest q.Window tasks that it looks at,
	// and reports whether that was all there are. q.Limit does not matter.
	Count(ctx context.Context, q TaskQuery) (n int, all bool, err error)
}

// TaskQuery says which tasks to list.
type TaskQuery struct {
	domain.TaskFilter
	Before domain.TaskID // only ids below this one; zero: from the newest
	Limit  int           // at most so many; at least 1
	Bytes  int           // about as large together, at most, but at least one; 0: any size
	Window int           // look at most at so many; at least 1
}

// SearchResult is what a search has found.
type SearchResult struct {
	Tasks []*domain.Task
	// Omitted are tasks that match and cannot be read: they count against the limit, and
	// do not hide the others.
	Omitted []domain.TaskID
	// End is where the search stopped because it had looked at as many tasks as it
	// may, or because of q.Bytes: all matches at or above it are in Tasks. Zero: it has
	// seen everything, or found as many as it was to.
	End domain.TaskID
	// Full says that it was because of q.Bytes: the next match is too large for Tasks.
	Full bool
}

// How many tasks a search looks at, at most: what is asked for may be rare.
const (
	SearchWindow = 20_000
	TextWindow   = 5_000   // if it has to read their messages
	CountWindow  = 100_000 // for a count
)

// PageBytes is how large the tasks of a page may be together.
const PageBytes = 8 << 20

// TaskOverhead is what a task counts for in bytes, beside its texts.
const TaskOverhead = 512
