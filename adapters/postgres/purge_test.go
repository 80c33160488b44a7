package postgres

import (
	"testing"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// addEnded stores n canceled tasks and returns the step that purges them.
func addEnded(t *testing.T, db *DB, n int) application.PurgeStep {
	t.Helper()
	tasks, _ := newTasks(t, n)
	step := application.PurgeStep{Walk: application.PurgeAll, To: domain.TaskID{1}}
	for _, task := range tasks {
		if err := task.Cancel(time.Now()); err != nil {
			t.Fatal(err)
		}
		step.Expired = append(step.Expired, task.PurgeCandidate())
	}
	if err := NewTaskRepository(db).Add(t.Context(), tasks...); err != nil {
		t.Fatal(err)
	}
	return step
}

// Nobody waits for the rows of each of a thousand tasks, one after the other.
func TestPurge_LeavesTheTasksForTheNextRoundWhileAttemptsIsLocked(t *testing.T) {
	db := migrated(t, Config{})
	step := addEnded(t, db, 1000)
	_, release := lockTable(t, db, "attempts")
	begun := time.Now()
	got, err := NewPurgeRepository(db).Purge(t.Context(), step)
	if took := time.Since(begun); err != nil || !got.Moved || len(got.Purged)+len(got.Refused) > 0 || took > 2*apartFor {
		t.Fatalf("%+v, %v after %s; want all left", got, err, took)
	}
	release()
	step.From = step.To
	if got, err = NewPurgeRepository(db).Purge(t.Context(), step); err != nil || len(got.Purged) != 1000 {
		t.Errorf("%d purged, %v; want all", len(got.Purged), err)
	}
}

// The server waits for the lock of a table before it reads that the wait is to be brief.
func TestPurge_FailsOnceWhileATableIsLocked(t *testing.T) {
	db := migrated(t, Config{CallTimeout: 2 * time.Second})
	step := addEnded(t, db, 10)
	_, release := lockTable(t, db, "task_metadata")
	defer release()
	begun := time.Now()
	_, err := NewPurgeRepository(db).Purge(t.Context(), step)
	if took := time.Since(begun); domain.Public(err).Code != domain.CodeUnavailable || took > 4*time.Second {
		t.Errorf("%v after %s, want one wait and CodeUnavailable", err, took)
	}
}

// A table of the operator's that refers to tasks is waited for as briefly.
func TestPurge_LeavesATaskOfWhichAnotherTableHasARowLocked(t *testing.T) {
	db := migrated(t, Config{})
	step := addEnded(t, db, 5)
	id := step.Expired[2].ID
	db.calls.SQL.MustExec("CREATE TABLE notes (task_id uuid REFERENCES tasks ON DELETE CASCADE)")
	db.calls.SQL.MustExec("INSERT INTO notes VALUES ($1)", id.String())
	tx := db.beats.SQL.MustBegin()
	t.Cleanup(func() { _ = tx.Rollback() })
	tx.MustExec("SELECT 1 FROM notes FOR UPDATE")
	begun := time.Now()
	got, err := NewPurgeRepository(db).Purge(t.Context(), step)
	if took := time.Since(begun); err != nil || len(got.Purged) != 4 || len(got.Refused) > 0 || took > time.Second {
		t.Errorf("%+v, %v after %s; want one left", got, err, took)
	}
}
