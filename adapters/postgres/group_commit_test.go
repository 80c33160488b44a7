package postgres

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/domain"
)

// lockTable holds a table. The first function waits until somebody waits for it, the
// second lets go of it.
func lockTable(t *testing.T, db *DB, table string) (waitedFor, release func()) {
	t.Helper()
	lock := db.calls.SQL.MustBegin()
	lock.MustExec("LOCK TABLE " + table)
	waitedFor = func() {
		t.Helper()
		const waiting = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = $1::regclass)"
		for found := false; !found; time.Sleep(10 * time.Millisecond) {
			if err := db.calls.SQL.Get(&found, waiting, table); err != nil {
				t.Fatal(err)
			}
		}
	}
	return waitedFor, func() { _ = lock.Commit() }
}

// crowd runs call of n callers at once while the table is locked, so that all but
// the first come while a statement is under way, and returns their errors.
func crowd(t *testing.T, db *DB, table string, n int, call func(i int) error) []error {
	t.Helper()
	waitedFor, release := lockTable(t, db, table)
	errs := make([]error, n)
	var calling, done sync.WaitGroup
	for i := range n {
		calling.Add(1)
		done.Go(func() {
			calling.Done()
			errs[i] = call(i)
		})
	}
	calling.Wait()
	waitedFor()
	time.Sleep(200 * time.Millisecond) // for the last of them to get there, on a busy machine
	release()
	done.Wait()
	return errs
}

// wantFewCommits checks that the rows were not written one by one.
func wantFewCommits(t *testing.T, db *DB, rows int) {
	t.Helper()
	var n, commits int
	if err := db.calls.SQL.QueryRow("SELECT count(*), count(DISTINCT xmin::text) FROM tasks").Scan(&n, &commits); err != nil {
		t.Fatal(err)
	}
	if n != rows || commits > rows/4 {
		t.Errorf("%d tasks were written by %d commits, want %d by few", n, commits, rows)
	}
}

func TestAdd_OfManyCallersIsOneCommit(t *testing.T) {
	db := migrated(t, Config{CallTimeout: time.Minute})
	repository, tasks := NewTaskRepository(db), make([]*domain.Task, 100)
	for i := range tasks {
		tasks[i] = newTask(t)
	}
	for _, err := range crowd(t, db, "tasks", len(tasks), func(i int) error { return repository.Add(t.Context(), tasks[i]) }) {
		if err != nil {
			t.Error(err)
		}
	}
	wantFewCommits(t, db, len(tasks))
	for _, task := range tasks {
		if task.StoredVersion() != 1 {
			t.Errorf("task %s does not know that it is stored", task.ID())
		}
	}
}

func TestAdd_ABadTaskFailsItsOwnCaller(t *testing.T) {
	db := migrated(t, Config{CallTimeout: time.Minute})
	repository, there := NewTaskRepository(db), newTask(t)
	if err := repository.Add(t.Context(), there); err != nil {
		t.Fatal(err)
	}
	bad := func(i int) bool { return i%20 == 7 }
	firsts := make([]*domain.Task, 100)
	errs := crowd(t, db, "tasks", len(firsts), func(i int) error {
		unit := []*domain.Task{newTask(t), newTask(t)}
		firsts[i] = unit[0]
		if bad(i) {
			unit[1] = there // its id is taken
		}
		return repository.Add(t.Context(), unit...)
	})
	for i, err := range errs {
		_, found := repository.Get(t.Context(), firsts[i].ID())
		switch {
		case !bad(i) && (err != nil || found != nil):
			t.Errorf("caller %d: %v; its first task: %v", i, err, found)
		case bad(i) && (err == nil || errors.Is(err, domain.ErrUnavailable) || !errors.Is(found, domain.ErrTaskNotFound)):
			t.Errorf("caller %d, whose task is bad: %v; its first task: %v", i, err, found)
		}
	}
}

func TestAddOnce_OfManyCallersStoresEachKeyOnce(t *testing.T) {
	db := migrated(t, Config{CallTimeout: time.Minute})
	repository, now := NewTaskRepository(db), time.Now()
	const keys, each = 20, 5
	tasks, firsts := make([]*domain.Task, keys*each), make([][]*domain.Task, keys*each)
	for i := range tasks {
		tasks[i] = newTask(t)
	}
	errs := crowd(t, db, "idempotency_keys", len(tasks), func(i int) (err error) {
		firsts[i], _, err = repository.AddOnce(t.Context(), keyOf(fmt.Sprint("key ", i%keys), now), tasks[i])
		return err
	})
	stored := map[int]domain.TaskID{} // by the key
	for i, first := range firsts {
		if errs[i] == nil && first == nil {
			if other, ok := stored[i%keys]; ok {
				t.Errorf("key %d: both %s and %s are stored", i%keys, other, tasks[i].ID())
			}
			stored[i%keys] = tasks[i].ID()
		}
	}
	for i, first := range firsts {
		if errs[i] != nil || first != nil && first[0].ID() != stored[i%keys] {
			t.Errorf("caller %d of key %d: %v, %v", i, i%keys, first, errs[i])
		}
	}
	wantFewCommits(t, db, keys)
}

func TestSave_OfManyCallersTellsEachWhatBecameOfItsTask(t *testing.T) {
	db := migrated(t, Config{CallTimeout: time.Minute})
	repository := NewTaskRepository(db)
	tasks, _ := newTasks(t, 100)
	const unknown = 9
	for i, task := range tasks {
		if i == unknown {
			task.MarkStored() // or so it thinks
		} else if err := repository.Add(t.Context(), task); err != nil {
			t.Fatal(err)
		}
		if err := task.Cancel(time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	twin := tasks[3].Clone() // of the same version: one of the two comes too late
	tasks = append(tasks, twin)
	errs := crowd(t, db, "tasks", len(tasks), func(i int) error { return repository.Save(t.Context(), tasks[i]) })
	for i, err := range errs {
		switch i {
		case 3, len(tasks) - 1:
			if err != nil && !errors.Is(err, domain.ErrConflict) {
				t.Errorf("a twin: %v", err)
			}
		case unknown:
			if !errors.Is(err, domain.ErrTaskNotFound) {
				t.Errorf("a task that is not there: %v", err)
			}
		default:
			if err != nil {
				t.Errorf("task %d: %v", i, err)
			}
		}
	}
	if (errs[3] == nil) == (errs[len(tasks)-1] == nil) {
		t.Errorf("of twins one is stored, not %v and %v", errs[3], errs[len(tasks)-1])
	}
	wantFewCommits(t, db, 99)
}

func TestStalledLink_HoldsManyCallersForOneCallTimeout(t *testing.T) {
	p := newProxy(t, migrated(t, Config{}).cfg.URL)
	db := open(t, Config{URL: p.url, CallTimeout: shortCall})
	repository := NewTaskRepository(db)
	if err := repository.Add(t.Context(), newTask(t)); err != nil {
		t.Fatal(err)
	}
	p.swallowUp.Store(true)
	var callers sync.WaitGroup
	for range 2 * maxShared {
		callers.Go(func() {
			requireUnavailable(t, "Add", func() error { return repository.Add(t.Context(), newTask(t)) })
		})
	}
	callers.Wait()
}

func TestClose_AnswersWhoeverIsWaiting(t *testing.T) {
	url := migrated(t, Config{}).cfg.URL
	db, closePools, err := Open(Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	repository := NewTaskRepository(db)
	waitedFor, release := lockTable(t, open(t, Config{URL: url}), "tasks")
	add := func() chan error {
		done := make(chan error, 1)
		go func() { done <- repository.Add(t.Context(), newTask(t)) }()
		return done
	}
	underWay := add()
	waitedFor()
	closed := make(chan struct{})
	go func() { closePools(); close(closed) }()
	waiting := add()
	release()
	if err := <-underWay; err != nil {
		t.Errorf("Add under way = %v", err)
	}
	if err := <-waiting; err != nil && !errors.Is(err, domain.ErrUnavailable) {
		t.Errorf("Add that came with the end = %v", err)
	}
	<-closed
	if err := <-add(); !errors.Is(err, domain.ErrUnavailable) {
		t.Errorf("Add after the end = %v, want ErrUnavailable", err)
	}
}
