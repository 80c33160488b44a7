package sqlite_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jmoiron/sqlx"
	driver "modernc.org/sqlite"

	"github.com/millrace/millrace/adapters/sqlite"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/contract"
)

// rush is many writes that wait for one turn. It needs a bubble of synctest, which
// knows when they do.
type rush struct {
	turn    *sqlx.Conn
	writes  sync.WaitGroup
	commits int
}

// inRush runs the check in such a bubble, on a store that has the task.
func inRush(t *testing.T, check func(t *testing.T, store contract.Store, task *domain.Task, db *sqlite.DB, r *rush)) {
	t.Helper()
	path := fresh(t)
	synctest.Test(t, func(t *testing.T) {
		db, _ := open(t, path)
		store := storeOn(db)
		check(t, store, addTask(t, store), db, &rush{})
	})
}

// begin takes the turn to write away from everybody, and has the first write wait for it.
func (r *rush) begin(t *testing.T, db *sqlite.DB, store contract.Store) {
	t.Helper()
	writer, _ := sqlite.Pools(db)
	var err error
	if r.turn, err = writer.Connx(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.turn.Raw(func(conn any) error {
		conn.(driver.HookRegisterer).RegisterCommitHook(func() int32 { r.commits++; return 0 })
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	first := newTask(t, "the first")
	r.add(func() {
		if err := store.Tasks.Add(t.Context(), first); err != nil {
			t.Errorf("the first write: %v", err)
		}
	})
}

// add begins a write, which waits for its turn when add returns.
func (r *rush) add(write func()) {
	r.writes.Go(write)
	synctest.Wait()
}

// end gives the turn back, and returns when all writes have been answered, in so
// many commits.
func (r *rush) end(t *testing.T, commits int) {
	t.Helper()
	_ = r.turn.Close() // it goes back to its pool
	r.writes.Wait()
	if r.commits != commits {
		t.Errorf("%d commits, want %d: one for the first write, and one for all others", r.commits, commits)
	}
}

func newTask(t *testing.T, message string) *domain.Task {
	t.Helper()
	task, err := domain.NewTask(domain.TaskSpec{Message: message, MaxAttempts: new(3), Metadata: map[string]string{"of": "a rush"}}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return task
}

func TestWrites_OfConcurrentCallersShareACommit(t *testing.T) {
	inRush(t, func(t *testing.T, store contract.Store, task *domain.Task, db *sqlite.DB, r *rush) {
		if err := task.Cancel(time.Now()); err != nil {
			t.Fatal(err)
		}
		key := application.IdempotencyKey{Key: "k", Now: time.Now(), Expires: time.Now().Add(time.Hour)}
		added, once, twin := newTask(t, "added"), newTask(t, "once"), newTask(t, "twin")
		var errs [4]error
		var first []*domain.Task
		r.begin(t, db, store)
		r.add(func() { errs[0] = store.Tasks.Add(t.Context(), added) })
		r.add(func() { errs[1] = store.Tasks.Save(t.Context(), task) })
		r.add(func() { _, _, errs[2] = store.Tasks.AddOnce(t.Context(), key, once) })
		r.add(func() { first, _, errs[3] = store.Tasks.AddOnce(t.Context(), key, twin) })
		r.end(t, 2)
		if err := errors.Join(errs[:]...); err != nil {
			t.Error(err)
		}
		if len(first) != 1 || first[0].ID() != once.ID() {
			t.Errorf("the twin is answered with %v, want the task that came before", first)
		}
		wantStored(t, store, added, once)
		wantNotStored(t, store, twin)
		if got, err := store.Tasks.Get(t.Context(), task.ID()); err != nil || got.Status() != domain.StatusCanceled {
			t.Errorf("the task that was saved: %v, %v", got, err)
		}
	})
}

func TestWrites_OneThatFailsFailsAlone(t *testing.T) {
	inRush(t, func(t *testing.T, store contract.Store, task *domain.Task, db *sqlite.DB, r *rush) {
		stale, err := store.Tasks.Get(t.Context(), task.ID())
		if err != nil {
			t.Fatal(err)
		}
		for _, task := range []*domain.Task{task, stale} {
			if err := task.Cancel(time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		before, half, unknown, after := newTask(t, "before"), newTask(t, "half of a batch"), newTask(t, "unknown"), newTask(t, "after")
		var good [3]error
		var taken, conflict, notFound error
		r.begin(t, db, store)
		r.add(func() { good[0] = store.Tasks.Add(t.Context(), before) })
		r.add(func() { taken = store.Tasks.Add(t.Context(), half, task) })
		r.add(func() { good[1] = store.Tasks.Save(t.Context(), task) })
		r.add(func() { conflict = store.Tasks.Save(t.Context(), stale) })
		r.add(func() { notFound = store.Tasks.Save(t.Context(), unknown) })
		r.add(func() { good[2] = store.Tasks.Add(t.Context(), after) })
		r.end(t, 2)
		if err := errors.Join(good[:]...); err != nil {
			t.Error(err)
		}
		if taken == nil || !errors.Is(conflict, domain.ErrConflict) || !errors.Is(notFound, domain.ErrTaskNotFound) {
			t.Errorf("an id that is taken: %v; a stale version: %v; an unknown task: %v", taken, conflict, notFound)
		}
		wantStored(t, store, before, after)
		wantNotStored(t, store, half, unknown)
	})
}

func TestWrites_AFullDiskFailsAllThatShareACommit(t *testing.T) {
	inRush(t, func(t *testing.T, store contract.Store, _ *domain.Task, db *sqlite.DB, r *rush) {
		writer, _ := sqlite.Pools(db)
		writer.MustExec("PRAGMA max_page_count = 40")
		small, large := newTask(t, "small"), newTask(t, strings.Repeat("x", 256<<10))
		var smallErr, largeErr error
		r.begin(t, db, store)
		r.add(func() { smallErr = store.Tasks.Add(t.Context(), small) })
		r.add(func() { largeErr = store.Tasks.Add(t.Context(), large) })
		r.end(t, 1)
		if !errors.Is(smallErr, domain.ErrUnavailable) || !errors.Is(largeErr, domain.ErrUnavailable) {
			t.Errorf("the small task: %v; the large one: %v; want ErrUnavailable", smallErr, largeErr)
		}
		wantNotStored(t, store, small, large)
	})
}

func TestWrites_ACallerWaitsForItsTurnNoLongerThanItsContext(t *testing.T) {
	inRush(t, func(t *testing.T, store contract.Store, _ *domain.Task, db *sqlite.DB, r *rush) {
		ctx, hangUp := context.WithCancel(t.Context())
		gone, stays := newTask(t, "gone"), newTask(t, "stays")
		var goneErr, staysErr error
		r.begin(t, db, store)
		r.add(func() { goneErr = store.Tasks.Add(ctx, gone) })
		r.add(func() { staysErr = store.Tasks.Add(t.Context(), stays) })
		hangUp()
		synctest.Wait()
		if !errors.Is(goneErr, domain.ErrUnavailable) || !errors.Is(goneErr, context.Canceled) {
			t.Errorf("a caller who hung up: %v, want ErrUnavailable and the context's error", goneErr)
		}
		r.end(t, 2)
		if staysErr != nil {
			t.Error(staysErr)
		}
		wantStored(t, store, stays)
		wantNotStored(t, store, gone)
	})
}

func wantStored(t *testing.T, store contract.Store, tasks ...*domain.Task) {
	t.Helper()
	for _, task := range tasks {
		if got, err := store.Tasks.Get(t.Context(), task.ID()); err != nil || got.Message() != task.Message() || task.Dirty() {
			t.Errorf("%q: %v, not stored as it was: %t", task.Message(), err, task.Dirty())
		}
	}
}

func wantNotStored(t *testing.T, store contract.Store, tasks ...*domain.Task) {
	t.Helper()
	for _, task := range tasks {
		if _, err := store.Tasks.Get(t.Context(), task.ID()); !errors.Is(err, domain.ErrTaskNotFound) || !task.Dirty() {
			t.Errorf("%.40q: %v, want ErrTaskNotFound", task.Message(), err)
		}
	}
}
