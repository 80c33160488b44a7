package usecase

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// ListTasks pages through tasks, newest first.
type ListTasks struct{ search application.TaskSearch }

// NewListTasks makes the use case.
func NewListTasks(search application.TaskSearch) *ListTasks { return &ListTasks{search: search} }

// TaskPage is a part of a list.
type TaskPage struct {
	Tasks   []*domain.Task
	Omitted []domain.TaskID // that match and cannot be read
	Next    domain.TaskID   // the next page has what is below it; zero: this one is the last
	// Window is how many tasks were looked at, if the search stopped for that
	// before the page was full; otherwise 0.
	Window int
}

// Run returns a page, which ends by PageBytes too. A Limit of 0 means DefaultPageSize;
// one that is out of bounds, or a filter that is, is domain.CodeInvalid. A search that
// takes too long is repeated in a smaller window; if even that is too much while the
// store answers, it is domain.CodeTooMuch. Tasks that arrive while a client pages do
// not move what it has yet to see.
func (uc *ListTasks) Run(ctx context.Context, q application.TaskQuery) (TaskPage, error) {
	size, err := pageSize(q.Limit, DefaultPageSize, MaxPageSize)
	if err != nil {
		return TaskPage{}, err
	}
	if err := q.Check(); err != nil {
		return TaskPage{}, err
	}
	q.Limit = size + 1
	q.Bytes = application.PageBytes
	q.Window = application.SearchWindow
	if q.Text != "" {
		q.Window = application.TextWindow
	}
	found, err := uc.search.List(ctx, q)
	if application.TookTooLong(err) {
		q.Window /= smallerWindow
		if found, err = uc.search.List(ctx, q); application.TookTooLong(err) {
			err = tooMuch(ctx, uc.search, q, err)
		}
	}
	if err != nil {
		return TaskPage{}, fmt.Errorf("list tasks: %w", err)
	}
	if len(found.Tasks)+len(found.Omitted) > size {
		return fullPage(found, size), nil
	}
	page := TaskPage{Tasks: found.Tasks, Omitted: found.Omitted, Next: found.End}
	if found.End != (domain.TaskID{}) && !found.Full {
		page.Window = q.Window
	}
	return page, nil
}

// smallerWindow is how much smaller the window is in which a search that took too long
// is repeated.
const smallerWindow = 50

// tooMuch is err, the outage of a search that took too long, unless the store answers
// the smallest search of the kind: then more was asked than it can do in time.
func tooMuch(ctx context.Context, search application.TaskSearch, q application.TaskQuery, err error) error {
	q.Limit, q.Window, q.Bytes = 1, 1, 1
	if _, probe := search.List(ctx, q); probe != nil {
		return err
	}
	return fmt.Errorf("%w (%s)", domain.ErrTooMuch, err.Error()) // no outage
}

// fullPage is a page of that size, of a search that has found more.
func fullPage(found application.SearchResult, size int) TaskPage {
	if len(found.Omitted) == 0 {
		return TaskPage{Tasks: found.Tasks[:size], Next: found.Tasks[size-1].ID()}
	}
	ids := slices.Clone(found.Omitted)
	for _, t := range found.Tasks {
		ids = append(ids, t.ID())
	}
	newest := func(a, b domain.TaskID) int { return bytes.Compare(b[:], a[:]) }
	slices.SortFunc(ids, newest)
	last := ids[size-1]
	beyond := func(id domain.TaskID) bool { return newest(last, id) < 0 }
	return TaskPage{
		Tasks:   slices.DeleteFunc(found.Tasks, func(t *domain.Task) bool { return beyond(t.ID()) }),
		Omitted: slices.DeleteFunc(found.Omitted, beyond), Next: last,
	}
}
