package contract

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/domain"
)

func changeBulk(t *testing.T, s Store, id domain.BulkID, decide func(b domain.Bulk) (domain.Bulk, error)) domain.Bulk {
	t.Helper()
	b, err := s.Bulks.Change(t.Context(), id, decide)
	if err != nil {
		t.Fatalf("change bulk action: %v", err)
	}
	stored, err := s.Bulks.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b, stored); diff != "" {
		t.Errorf("(-returned +stored):\n%s", diff)
	}
	return b
}

func cancelBulk(b domain.Bulk) (domain.Bulk, error) { return b.Cancel(now()) }

func bulkCanceled(t *testing.T, s Store) {
	tasks := addMany(t, s, 5)
	b := addBulk(t, s, domain.BulkCancel, domain.TaskFilter{})
	_, changed := stepBulk(t, s, bulkStep(2, wide))
	wantIDs(t, sortedByID(changed), tasks[3:])
	if got := changeBulk(t, s, b.ID, cancelBulk); got.Ended != domain.BulkCanceled || got.DoneAt.IsZero() || got.Changed != 2 {
		t.Errorf("canceled: %+v", got)
	}
	changeBulk(t, s, b.ID, cancelBulk) // twice is once
	if got, err := s.Bulks.Step(t.Context(), bulkStep(2, wide)); err != nil || got.Found {
		t.Errorf("step of a canceled action: %+v, %v", got, err)
	}
	wantKept(t, s, tasks[:3]...)

	failed := addBulk(t, s, domain.BulkCancel, domain.TaskFilter{})
	fail := func(b domain.Bulk) (domain.Bulk, error) { return b.Fail("too much", now()), nil }
	if got := changeBulk(t, s, failed.ID, fail); got.Ended != domain.BulkFailed || got.Reason != "too much" {
		t.Errorf("failed: %+v", got)
	}
	if _, err := s.Bulks.Change(t.Context(), failed.ID, cancelBulk); domain.Public(err).Code != domain.CodeConflict {
		t.Errorf("cancel of a failed action: %v", err)
	}
}

// bulkOwnWindow: an action that has shrunk looks at no more than it may.
func bulkOwnWindow(t *testing.T, s Store) {
	tasks := addMany(t, s, 12)
	b := addBulk(t, s, domain.BulkCancel, domain.TaskFilter{Text: "none of them says this"})
	changeBulk(t, s, b.ID, func(b domain.Bulk) (domain.Bulk, error) { return b.Shrink(10, now()), nil })
	got, _ := stepBulk(t, s, bulkStep(100, wide))
	if want := newestFirst(tasks)[4].ID(); got.Cursor != want || got.Tries != 0 {
		t.Errorf("after a step that may look at 5: %+v, want the cursor at %s", got, want)
	}
}

func bulkChangeUnknown(t *testing.T, s Store) {
	if _, err := s.Bulks.Change(t.Context(), newBulk(domain.BulkStop, domain.TaskFilter{}).ID, cancelBulk); !errors.Is(err, domain.ErrBulkNotFound) {
		t.Errorf("change of no action: %v", err)
	}
	b := addBulk(t, s, domain.BulkStop, domain.TaskFilter{})
	no := errors.New("no")
	if _, err := s.Bulks.Change(t.Context(), b.ID, func(b domain.Bulk) (domain.Bulk, error) { return b, no }); !errors.Is(err, no) {
		t.Errorf("change that is refused: %v", err)
	}
}
