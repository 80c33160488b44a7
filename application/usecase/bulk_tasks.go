package usecase

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// BulkTasks acts on many tasks.
type BulkTasks struct {
	search application.TaskSearch
	bulks  application.BulkRepository
	clock  application.Clock

	keyLife time.Duration
}

// NewBulkTasks makes the use case.
func NewBulkTasks(search application.TaskSearch, bulks application.BulkRepository, clock application.Clock, limits SubmitLimits) *BulkTasks {
	return &BulkTasks{search: search, bulks: bulks, clock: clock, keyLife: limits.KeyLife}
}

// BulkTasksInput says what to do, and to which tasks.
type BulkTasksInput struct {
	Action domain.BulkAction
	Filter domain.TaskFilter
	All    bool // an empty filter is meant: it must not be for want of one
	// Invalid is what the caller has found wrong with the filter already. It is refused
	// together with all else that is wrong.
	Invalid []domain.FieldError
	Owner   string // of the key: the name of the credential, empty if none is needed
	Key     string // idempotency key; empty: none
}

// BulkResult is the action of a request.
type BulkResult struct {
	Bulk     domain.Bulk
	Replayed bool // the request came before: this is its action as it is now
}

// Run begins the action: the dispatcher of any worker does it. An action that is
// none, or a filter that is out of bounds, or empty without All, is CodeInvalid. A key
// that came before with the same request answers with the action of that one; with
// another request it is domain.ErrKeyReused.
func (uc *BulkTasks) Run(ctx context.Context, in BulkTasksInput) (BulkResult, error) {
	if err := in.check(); err != nil {
		return BulkResult{}, err
	}
	now := uc.clock.Now()
	b, err := domain.NewBulk(in.Action, in.Filter, now)
	if err != nil {
		return BulkResult{}, err
	}
	if in.Key == "" {
		if err := uc.bulks.Add(ctx, b); err != nil {
			return BulkResult{}, fmt.Errorf("store bulk action %s: %w", b.ID, err)
		}
		return BulkResult{Bulk: b}, nil
	}
	sum, err := in.fingerprint()
	if err != nil {
		return BulkResult{}, err
	}
	key := application.IdempotencyKey{Owner: in.Owner, Key: in.Key, Fingerprint: sum, Now: now, Expires: now.Add(uc.keyLife)}
	first, err := uc.bulks.AddOnce(ctx, key, b)
	switch {
	case err != nil:
		return BulkResult{}, fmt.Errorf("store bulk action %s once: %w", b.ID, err)
	case first != nil:
		return BulkResult{Bulk: *first, Replayed: true}, nil
	}
	return BulkResult{Bulk: b}, nil
}

// fingerprint tells requests apart by what they ask for. No request for new tasks has
// the same.
func (in BulkTasksInput) fingerprint() ([sha256.Size]byte, error) {
	filter, err := application.EncodeFilter(in.Filter)
	if err != nil {
		return [sha256.Size]byte{}, err
	}
	return sha256.Sum256(fmt.Appendf(nil, "bulk %s %s", in.Action, filter)), nil
}

// BulkPage is a part of the list of bulk actions, the latest first.
type BulkPage struct {
	application.BulkList
	Next domain.BulkID // the next page has what is below it; zero: this one is the last
}

// List returns a page. A Limit of 0 means DefaultPageSize; one that is out of bounds is
// domain.CodeInvalid.
func (uc *BulkTasks) List(ctx context.Context, q application.BulkQuery) (BulkPage, error) {
	size, err := pageSize(q.Limit, DefaultPageSize, MaxBulkPage)
	if err != nil {
		return BulkPage{}, err
	}
	q.Limit = size + 1
	list, err := uc.bulks.List(ctx, q)
	if err != nil {
		return BulkPage{}, fmt.Errorf("list bulk actions: %w", err)
	}
	page := BulkPage{BulkList: list}
	if ids := idsOf(list); len(ids) > size {
		last := ids[size]
		page.Next = ids[size-1]
		page.Bulks = slices.DeleteFunc(page.Bulks, func(b domain.Bulk) bool { return b.ID == last })
		page.Omitted = slices.DeleteFunc(page.Omitted, func(id domain.BulkID) bool { return id == last })
	}
	return page, nil
}

// idsOf are the actions of the list, the latest first.
func idsOf(list application.BulkList) []domain.BulkID {
	ids := slices.Clone(list.Omitted)
	for _, b := range list.Bulks {
		ids = append(ids, b.ID)
	}
	slices.SortFunc(ids, func(a, b domain.BulkID) int { return bytes.Compare(b[:], a[:]) })
	return ids
}

// Cancel ends an action that is running; what it has changed stays changed. One that is
// canceled stays as it is; one that has ended in another way is domain.CodeConflict.
func (uc *BulkTasks) Cancel(ctx context.Context, id domain.BulkID) (domain.Bulk, error) {
	b, err := uc.bulks.Change(ctx, id, func(b domain.Bulk) (domain.Bulk, error) { return b.Cancel(uc.clock.Now()) })
	if err != nil {
		return domain.Bulk{}, fmt.Errorf("cancel bulk action %s: %w", id, err)
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
	if application.TookTooLong(err) {
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
