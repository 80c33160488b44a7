package usecase

import (
	"context"
	"fmt"
	"slices"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// BulkTasks acts on many tasks.
type BulkTasks struct {
	search application.TaskSearch
	bulks  application.BulkRepository
	clock  application.Clock
}

// NewBulkTasks makes the use case.
func NewBulkTasks(search application.TaskSearch, bulks application.BulkRepository, clock application.Clock) *BulkTasks {
	return &BulkTasks{search: search, bulks: bulks, clock: clock}
}

// BulkTasksInput says what to do, and to which tasks.
type BulkTasksInput struct {
	Action domain.BulkAction
	Filter domain.TaskFilter
	All    bool // an empty filter is meant: it must not be for want of one
	// Invalid is what the caller has found wrong with the filter already. It is refused
	// together with all else that is wrong.
	Invalid []domain.FieldError
}

// Run begins the action: the dispatcher of any worker does it. An action that is
// none, or a filter that is out of bounds, or empty without All, is CodeInvalid.
func (uc *BulkTasks) Run(ctx context.Context, in BulkTasksInput) (domain.Bulk, error) {
	if err := in.check(); err != nil {
		return domain.Bulk{}, err
	}
	b, err := domain.NewBulk(in.Action, in.Filter, uc.clock.Now())
	if err != nil {
		return domain.Bulk{}, err
	}
	if err := uc.bulks.Add(ctx, b); err != nil {
		return domain.Bulk{}, fmt.Errorf("store bulk action %s: %w", b.ID, err)
	}
	return b, nil
}

// Count tells how many tasks the action would look at: those that match among the
// latest CountWindow, or TextWindow if it has to read their messages. all reports
// whether that is all there are. A count that takes too long while the store answers
// is domain.CodeTooMuch.
func (uc *BulkTasks) Count(ctx context.Context, in BulkTasksInput) (n int, all bool, err error) {
	if err := in.check(); err != nil {
		return 0, false, err
	}
	q := application.TaskQuery{TaskFilter: in.Filter, Limit: 1, Window: application.CountWindow}
	if in.Filter.Text != "" {
		q.Window = application.TextWindow
	}
	n, all, err = uc.search.Count(ctx, q)
	if tookTooLong(err) {
		err = tooMuch(ctx, uc.search, q, err)
	}
	if err != nil {
		return 0, false, fmt.Errorf("count tasks: %w", err)
	}
	return n, all, nil
}

// Get returns a bulk action as it is now, or domain.ErrBulkNotFound.
func (uc *BulkTasks) Get(ctx context.Context, id domain.BulkID) (domain.Bulk, error) {
	b, err := uc.bulks.Get(ctx, id)
	if err != nil {
		return domain.Bulk{}, fmt.Errorf("get bulk action %s: %w", id, err)
	}
	return b, nil
}

// check names all that is wrong with the input.
func (in BulkTasksInput) check() error {
	wrong := slices.Clone(in.Invalid)
	switch empty := in.Filter.Empty() && len(in.Invalid) == 0; {
	case empty && !in.All:
		wrong = append(wrong, domain.FieldError{Field: "filter", Detail: "is empty, which means all tasks; if that is meant, set all to true"})
	case in.All && !empty:
		wrong = append(wrong, domain.FieldError{Field: "all", Detail: "cannot be combined with a filter that is not empty"})
	}
	if err := domain.CheckBulk(in.Action, in.Filter); err != nil {
		wrong = append(wrong, domain.Public(err).Fields...)
	}
	if len(wrong) > 0 {
		return domain.InvalidFields(wrong...)
	}
	return nil
}
