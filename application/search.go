package application

import (
	"context"

	"github.com/millrace/millrace/domain"
)

// TaskSearch finds tasks. The cost of a search is bounded however many tasks there
// are: it looks at no more than so many of them.
type TaskSearch interface {
	// List returns tasks that match, newest first: by id, downwards.
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
	Window int           // look at most at so many; at least 1
}

// SearchResult is what a search has found.
type SearchResult struct {
	Tasks []*domain.Task
	// Omitted are tasks that match and cannot be read: they count against the limit, and
	// do not hide the others.
	Omitted []domain.TaskID
	// End is where the search stopped because it had looked at as many tasks as it
	// may: all matches at or above it are in Tasks. Zero: it has seen everything, or
	// found as many as it was to.
	End domain.TaskID
}

// How many tasks a search looks at, at most: what is asked for may be rare.
const (
	SearchWindow = 20_000
	TextWindow   = 5_000   // if it has to read their messages
	CountWindow  = 100_000 // for a count
)
