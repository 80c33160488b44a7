package contract

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/millrace/millrace/domain"
)

// bulkDeletes: what has not ended is skipped, however the filter finds it.
func bulkDeletes(t *testing.T, s Store) {
	pair := described("customer", "c")
	gone := addMany(t, s, 11, pair, ended(domain.StatusCompleted))
	for range 3 {
		gone = append(gone, addFailed(t, s, pair), addMade(t, s, pair, ended(domain.StatusCanceled)))
	}
	kept := append(addMany(t, s, 4, pair), addMany(t, s, 3, pair, heldBy("worker", 1))...)
	others := addMany(t, s, 3, described("customer", "d"), ended(domain.StatusCompleted))
	addBulk(t, s, domain.BulkDelete, domain.TaskFilter{Metadata: pairsOf("customer", "c")})
	later := addMade(t, s, pair, ended(domain.StatusCompleted))
	b, changed := runBulk(t, s, 4, wide)
	if b.Changed != len(gone) || b.Skipped != len(kept) {
		t.Errorf("changed %d, skipped %d; want %d, %d", b.Changed, b.Skipped, len(gone), len(kept))
	}
	wantIDs(t, sortedByID(changed), sortedByID(gone))
	wantGone(t, s, gone...)
	rest := append(slices.Concat(kept, others), later)
	wantKept(t, s, rest...)
	if n := s.Pairs(t); n != len(rest) {
		t.Errorf("%d pairs are stored; want those of the %d tasks that are left", n, len(rest))
	}
}

// bulkDeleteGoesOn: a step that could not be stored has deleted nothing, and the next one
// goes on where it began.
func bulkDeleteGoesOn(t *testing.T, s Store) {
	tasks := addMany(t, s, 10, described("k", "v"), ended(domain.StatusCompleted))
	addBulk(t, s, domain.BulkDelete, domain.TaskFilter{})
	first, _ := stepBulk(t, s, bulkStep(4, wide))
	unknown, n := makeTask(t, heldBy("worker", 1)), 0
	x := bulkStep(4, wide)
	x.Decide = func(b domain.Bulk, task *domain.Task) error {
		if n++; n == 3 { // a change that the store does not take
			*task = *unknown.Clone()
			return task.RequestStop(now())
		}
		return act(b, task)
	}
	if got, err := s.Bulks.Step(t.Context(), x); err == nil || len(got.Changed) > 0 {
		t.Errorf("a step whose change was not stored: %d changed, %v", len(got.Changed), err)
	}
	wantBulk(t, s, first)
	left := newestFirst(tasks)[4:]
	wantKept(t, s, left...)
	if n := s.Pairs(t); n != len(left) {
		t.Errorf("%d pairs are stored; want those of %d tasks", n, len(left))
	}
	b := first
	for b.DoneAt.IsZero() {
		b, _ = stepBulk(t, s, bulkStep(4, wide))
	}
	if b.Changed != len(tasks) || s.Pairs(t) != 0 {
		t.Errorf("%+v; want all deleted, with their %d pairs", b, s.Pairs(t))
	}
	wantGone(t, s, tasks...)
}

func bulkDeleteRefused(t *testing.T, s Store) {
	tasks := addMany(t, s, 9, described("k", "v"), ended(domain.StatusCompleted))
	s.RefuseDelete(t, tasks[4].ID())
	addBulk(t, s, domain.BulkDelete, domain.TaskFilter{})
	b, changed := stepBulk(t, s, bulkStep(20, wide))
	if b.Changed != 8 || b.Skipped != 1 || b.DoneAt.IsZero() {
		t.Errorf("%+v; want eight deleted, and one skipped", b)
	}
	wantIDs(t, sortedByID(changed), slices.Concat(tasks[:4], tasks[5:]))
	wantGone(t, s, slices.Concat(tasks[:4], tasks[5:])...)
	wantKept(t, s, tasks[4])
	if n := s.Pairs(t); n != 1 {
		t.Errorf("%d pairs are stored; want that of the task that is left", n)
	}
}

// bulkDeleteRace lets others reopen the tasks while an action deletes them.
func bulkDeleteRace(t *testing.T, s Store) {
	tasks := make([]*domain.Task, 60)
	for i := range tasks {
		tasks[i] = addFailed(t, s)
	}
	addBulk(t, s, domain.BulkDelete, domain.TaskFilter{})
	var reopened []*domain.Task
	var racing sync.WaitGroup
	racing.Go(func() {
		for _, task := range tasks { // from the other end
			task = task.Clone()
			if err := task.Reopen(now()); err != nil {
				t.Error(err)
			}
			switch err := s.Tasks.Save(t.Context(), task); {
			case err == nil:
				reopened = append(reopened, task)
			case !errors.Is(err, domain.ErrTaskNotFound):
				t.Errorf("save: %v", err)
			}
		}
	})
	b, changed := runBulk(t, s, 6, wide)
	racing.Wait()
	if b.Changed != len(changed) || len(changed)+len(reopened) != len(tasks) {
		t.Errorf("%d deleted, and %d reopened, of %d", b.Changed, len(reopened), len(tasks))
	}
	wantGone(t, s, changed...)
	wantKept(t, s, reopened...)
}
