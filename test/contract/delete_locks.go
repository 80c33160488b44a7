package contract

import (
	"errors"
	"testing"
	"time"

	"github.com/millrace/millrace/domain"
)

// rowLocks are those of the rows of a task.
func (l Locks) rowLocks() map[string]func(t *testing.T, id domain.TaskID) (release func()) {
	return map[string]func(t *testing.T, id domain.TaskID) (release func()){"task": l.Task, "attempt": l.Attempt, "pair": l.Pair}
}

// lockedDelete locks each of the rows that a deletion removes: it waits until they are
// free, and another deletion does not.
func lockedDelete(t *testing.T, s Store, l Locks) {
	for row, lock := range l.rowLocks() {
		task, other := addFailed(t, s, described("k", "v")), addFailed(t, s, described("k", "v"))
		release := lock(t, task.ID())
		locked := make(chan error, 1)
		go func() { locked <- s.Tasks.Delete(t.Context(), fated(t, task)) }()
		time.Sleep(50 * time.Millisecond) // for it to be first
		soon(t, "deletion of another task", func() {
			if err := s.Tasks.Delete(t.Context(), fated(t, other)); err != nil {
				t.Errorf("delete: %v", err)
			}
		})
		select {
		case err := <-locked:
			t.Fatalf("delete of a task whose %s is locked: %v", row, err)
		default:
		}
		wantKept(t, s, task)
		release()
		if err := <-locked; err != nil {
			t.Errorf("delete once the %s is free again: %v", row, err)
		}
		wantGone(t, s, task, other)
	}
}

// lockedDeleteConflict: whoever is late hears of it at once, lock or none.
func lockedDeleteConflict(t *testing.T, s Store, l Locks) {
	task := addFailed(t, s)
	late := fated(t, task.Clone())
	if err := errors.Join(task.Reopen(now()), s.Tasks.Save(t.Context(), task)); err != nil {
		t.Fatal(err)
	}
	defer l.Task(t, task.ID())()
	soon(t, "delete", func() {
		if err := s.Tasks.Delete(t.Context(), late); !errors.Is(err, domain.ErrConflict) {
			t.Errorf("delete of a stale version: %v, want ErrConflict", err)
		}
	})
}

func lockedBulkDelete(t *testing.T, s Store, l Locks) {
	for row, lock := range l.rowLocks() {
		var tasks []*domain.Task
		for range 5 {
			tasks = append(tasks, addFailed(t, s, described("k", "v")))
		}
		addBulk(t, s, domain.BulkDelete, domain.TaskFilter{})
		release := lock(t, tasks[2].ID())
		soon(t, "steps", func() {
			for range 2 {
				b, _ := stepBulk(t, s, bulkStep(10, 1000))
				if b.Changed != 4 || b.Skipped != 0 || len(b.Locked) != 1 || b.Locked[0] != tasks[2].ID() || !b.DoneAt.IsZero() {
					t.Errorf("%s: %+v; want four deleted, and one left for later", row, b)
				}
			}
		})
		wantKept(t, s, tasks[2])
		release()
		b, changed := stepBulk(t, s, bulkStep(10, 1000))
		wantIDs(t, changed, tasks[2:3])
		if b.Changed != 5 || len(b.Locked) > 0 || b.DoneAt.IsZero() {
			t.Errorf("%s: %+v; want all five deleted", row, b)
		}
		wantGone(t, s, tasks...)
	}
}
