package contract

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

var deleteChecks = map[string]check{
	"DeleteRemovesTheTaskAndAllOfIt":      deleteAll,
	"DeleteOfAStaleVersionDeletesNothing": deleteStale,
	"DeleteOfAnUnknownTaskIsNotFound":     deleteUnknown,
	"DeleteOfATaskThatTheStoreRefuses":    deleteRefused,
	"DeleteAndReopenHaveOneWinner":        deleteRace,
	"DeletedTasksLeaveTheirKeyBehind":     deleteKeepsKey,
	"AListGoesOnFromATaskThatIsDeleted":   deleteCursor,
	"ClaimOfADeletedTaskIsUnknown":        deleteClaim,
	"BulkDeletesWhatHasEnded":             bulkDeletes,
	"BulkDeletesNothingOfAStepThatFails":  bulkDeleteGoesOn,
	"BulkDeleteSkipsWhatTheStoreRefuses":  bulkDeleteRefused,
	"BulkDeleteAndReopenHaveOneWinner":    bulkDeleteRace,
}

// fated is the task once the domain has let it be deleted.
func fated(t *testing.T, task *domain.Task) *domain.Task {
	t.Helper()
	if err := task.Delete(); err != nil {
		t.Fatal(err)
	}
	return task
}

// wantGone checks that nothing is left of the tasks.
func wantGone(t *testing.T, s Store, tasks ...*domain.Task) {
	t.Helper()
	for _, task := range tasks {
		if _, err := s.Tasks.Get(t.Context(), task.ID()); !errors.Is(err, domain.ErrTaskNotFound) {
			t.Errorf("get of a task that was deleted: %v", err)
		}
		if attempts, err := s.Tasks.Attempts(t.Context(), task.ID()); err != nil || len(attempts) > 0 {
			t.Errorf("attempts of a task that was deleted: %d, %v", len(attempts), err)
		}
	}
	left, _, err := s.Tasks.GetMany(t.Context(), idsOf(tasks)...)
	versions, errVersions := s.Tasks.Versions(t.Context(), idsOf(tasks)...)
	if err = errors.Join(err, errVersions); err != nil || len(left)+len(versions) > 0 {
		t.Errorf("of the tasks that were deleted, %d are left, with %d versions, %v", len(left), len(versions), err)
	}
}

// addFailed stores a task of which one attempt has failed, and is recorded.
func addFailed(t *testing.T, s Store, edits ...func(*domain.TaskState)) *domain.Task {
	t.Helper()
	task := addMade(t, s, append(edits, heldBy("worker", 1))...)
	err := task.Fail(task.Attempt(), domain.Failure{Reason: "broken", Permanent: true}, domain.RetryPolicy{}, 0, now())
	if err = errors.Join(err, s.Tasks.Save(t.Context(), task)); err != nil {
		t.Fatal(err)
	}
	return task
}

func deleteAll(t *testing.T, s Store) {
	pair := described("customer", `c "1" \ é`)
	gone := []*domain.Task{addFailed(t, s, pair), addMade(t, s, pair, ended(domain.StatusCompleted)), addMade(t, s, ended(domain.StatusCanceled))}
	kept := []*domain.Task{addFailed(t, s, pair), addMade(t, s, pair, ended(domain.StatusCompleted)), addMade(t, s, pair)}
	for _, task := range gone {
		if err := s.Tasks.Delete(t.Context(), fated(t, task)); err != nil {
			t.Fatalf("delete of a %s task: %v", task.Status(), err)
		}
	}
	wantGone(t, s, gone...)
	wantKept(t, s, kept...)
	if attempts, err := s.Tasks.Attempts(t.Context(), kept[0].ID()); err != nil || len(attempts) != 1 {
		t.Errorf("attempts of another task: %d, %v", len(attempts), err)
	}
	found := list(t, s, application.TaskQuery{TaskFilter: domain.TaskFilter{Metadata: pairsOf("customer", `c "1" \ é`)}, Limit: 10})
	wantIDs(t, found, newestFirst(kept))
	if n := s.Pairs(t); n != len(kept) {
		t.Errorf("%d pairs are stored; want those of the %d tasks that are left", n, len(kept))
	}
}

func deleteStale(t *testing.T, s Store) {
	task := addFailed(t, s)
	late := fated(t, get(t, s, task.ID()))
	if err := errors.Join(task.Reopen(now()), s.Tasks.Save(t.Context(), task)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Tasks.Delete(t.Context(), late); !errors.Is(err, domain.ErrConflict) {
			t.Errorf("delete of a task that was reopened: %v, want ErrConflict", err)
		}
	}
	wantStored(t, s, task.State())

	// A failover may give a version twice: what is stored is another change than was loaded.
	canceled := addMade(t, s, ended(domain.StatusCanceled))
	state := canceled.State()
	state.Status = domain.StatusFailed
	if err := s.Tasks.Delete(t.Context(), fated(t, restore(t, state))); !errors.Is(err, domain.ErrConflict) {
		t.Errorf("delete of a task of another status: %v, want ErrConflict", err)
	}
	wantStored(t, s, canceled.State())
}

func deleteUnknown(t *testing.T, s Store) {
	task := addMade(t, s, ended(domain.StatusCanceled))
	again := fated(t, task.Clone())
	if err := s.Tasks.Delete(t.Context(), fated(t, task)); err != nil {
		t.Fatal(err)
	}
	for _, unknown := range []*domain.Task{again, fated(t, makeTask(t, ended(domain.StatusCompleted)))} {
		if err := s.Tasks.Delete(t.Context(), unknown); !errors.Is(err, domain.ErrTaskNotFound) {
			t.Errorf("delete of a task that is not there: %v, want ErrTaskNotFound", err)
		}
	}
	if err := s.Tasks.Save(t.Context(), again); !errors.Is(err, domain.ErrTaskNotFound) {
		t.Errorf("save of a task that was deleted: %v, want ErrTaskNotFound", err)
	}
}

func deleteRefused(t *testing.T, s Store) {
	task := addFailed(t, s, described("k", "v"))
	s.RefuseDelete(t, task.ID())
	if err := s.Tasks.Delete(t.Context(), fated(t, task.Clone())); !errors.Is(err, domain.ErrRefused) {
		t.Errorf("delete of a task that the store refuses to delete: %v, want ErrRefused", err)
	}
	wantStored(t, s, task.State())
	if attempts, err := s.Tasks.Attempts(t.Context(), task.ID()); err != nil || len(attempts) != 1 || s.Pairs(t) != 1 {
		t.Errorf("attempts: %d, %v; pairs: %d", len(attempts), err, s.Pairs(t))
	}
}

// deleteRace deletes each task while somebody else reopens it.
func deleteRace(t *testing.T, s Store) {
	var deleted, reopened int
	for range 30 {
		task := addFailed(t, s)
		other := task.Clone()
		if err := other.Reopen(now()); err != nil {
			t.Fatal(err)
		}
		var both sync.WaitGroup
		var deletion, saving error
		both.Go(func() { deletion = s.Tasks.Delete(t.Context(), fated(t, task)) })
		both.Go(func() { saving = s.Tasks.Save(t.Context(), other) })
		both.Wait()
		switch {
		case deletion == nil && errors.Is(saving, domain.ErrTaskNotFound):
			deleted++
			wantGone(t, s, task)
		case errors.Is(deletion, domain.ErrConflict) && saving == nil:
			reopened++
			wantStored(t, s, other.State())
		default:
			t.Errorf("delete: %v; reopen: %v; want one of them", deletion, saving)
		}
	}
	t.Logf("%d deleted, %d reopened", deleted, reopened)
}

func deleteKeepsKey(t *testing.T, s Store) {
	single, batch := keyOf("single", "a"), keyOf("batch", "b")
	one, many := makeMany(t, 1, ended(domain.StatusCompleted)), makeMany(t, 3, ended(domain.StatusCompleted))
	wantFresh(t, s, single, one...)
	wantFresh(t, s, batch, many...)
	for _, task := range []*domain.Task{one[0], many[2], many[1]} {
		if err := s.Tasks.Delete(t.Context(), fated(t, task)); err != nil {
			t.Fatal(err)
		}
	}
	wantGoneWith(t, s, single, 1, one[0].ID())
	wantGoneWith(t, s, batch, 3, many[1].ID()) // the first of those that are gone
	wantKept(t, s, many[0])
	later := single
	later.Now, later.Expires = single.Expires, single.Expires.Add(time.Minute)
	wantFresh(t, s, later, makeMany(t, 1)...) // once the key has expired
}

// wantGoneWith checks that a request with the key is told that the task was deleted, and
// stores nothing.
func wantGoneWith(t *testing.T, s Store, k application.IdempotencyKey, n int, id domain.TaskID) {
	t.Helper()
	for range 2 {
		again := makeMany(t, n)
		first, _, err := s.Tasks.AddOnce(t.Context(), k, again...)
		if diff := cmp.Diff(domain.TaskGone(id), domain.Public(err)); len(first) > 0 || diff != "" {
			t.Errorf("a key whose task was deleted: %d tasks, %v %s", len(first), err, diff)
		}
		wantNotStored(t, s, again...)
	}
}

// deleteCursor deletes the task at which a page has ended.
func deleteCursor(t *testing.T, s Store) {
	tasks := newestFirst(addMany(t, s, 6, ended(domain.StatusCompleted)))
	wantIDs(t, list(t, s, application.TaskQuery{Limit: 3}), tasks[:3])
	if err := s.Tasks.Delete(t.Context(), fated(t, tasks[2])); err != nil {
		t.Fatal(err)
	}
	wantIDs(t, list(t, s, application.TaskQuery{Before: tasks[2].ID(), Limit: 10}), tasks[3:])
}

// deleteClaim: what is left of a task on the queue is an entry that names none.
func deleteClaim(t *testing.T, s Store) {
	worker, task := enlist(t, s), addMade(t, s)
	if err := errors.Join(task.Cancel(now()), s.Tasks.Save(t.Context(), task), s.Tasks.Delete(t.Context(), fated(t, task))); err != nil {
		t.Fatal(err)
	}
	got, err := s.Tasks.Claim(t.Context(), claimOf(worker, task))
	if diff := cmp.Diff(idsOf([]*domain.Task{task}), got.Unknown); err != nil || diff != "" || len(got.Tasks)+len(got.Skipped) > 0 {
		t.Errorf("claim of a task that was deleted: %+v, %v %s", got, err, diff)
	}
}
