package postgres

import (
	"testing"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// Nothing that is done to the row of a turn keeps all workers from sweeping.
func TestAcquireSweep_IsEverybodysWhenTheRowSaysNothing(t *testing.T) {
	db := migrated(t, Config{})
	repository := NewDispatchRepository(db)
	take := func(w domain.WorkerID) bool {
		t.Helper()
		begin := time.Now()
		mine, err := repository.AcquireSweep(t.Context(), application.SweepStranded, w, time.Minute)
		if took := time.Since(begin); err != nil || took > 2*time.Second {
			t.Fatalf("it took %v: %v", took, err)
		}
		return mine
	}
	for name, damage := range map[string]string{
		"infinite": "UPDATE millrace_sweeps SET worker = 'gone', until = 'infinity'",
		"far":      "UPDATE millrace_sweeps SET worker = 'gone', until = now() + interval '1 year'",
		"removed":  "DELETE FROM millrace_sweeps",
	} {
		db.calls.SQL.MustExec(damage)
		if !take("a") {
			t.Errorf("%s: it is nobody's turn", name)
		}
		db.calls.SQL.MustExec("INSERT INTO millrace_sweeps VALUES ('stranded', 'a', now() - interval '1 second') ON CONFLICT DO NOTHING")
	}
	db.calls.SQL.MustExec("UPDATE millrace_sweeps SET until = now() - interval '1 second'")
	other := db.calls.SQL.MustBegin()
	defer func() { _ = other.Rollback() }()
	other.MustExec("SELECT FROM millrace_sweeps FOR UPDATE")
	if !take("a") || !take("b") {
		t.Error("locked by somebody: it is nobody's turn")
	}
	if err := repository.ReleaseSweep(t.Context(), application.SweepStranded, "a"); err != nil {
		t.Error(err)
	}
}

// A mark that cannot be read is no reason to find nothing.
func TestQueuedBefore_ReadsWhatAnOperatorHasWritten(t *testing.T) {
	db := migrated(t, Config{})
	tasks, ids := newTasks(t, 2)
	if err := NewTaskRepository(db).Add(t.Context(), tasks...); err != nil {
		t.Fatal(err)
	}
	db.calls.SQL.MustExec("ALTER TABLE tasks DISABLE TRIGGER ALL")
	for _, constraint := range constraintsOn(t, db, "queued_at") {
		db.calls.SQL.MustExec("ALTER TABLE tasks DROP CONSTRAINT " + constraint)
	}
	db.calls.SQL.MustExec("UPDATE tasks SET queued_at = '-infinity' WHERE id = $1", ids[0].String())
	before := time.Now().Add(time.Second)
	oldest, err := NewDispatchRepository(db).QueuedBefore(t.Context(), before)
	if mark, found := oldest[defaultList]; err != nil || !found || !mark.Before(before) {
		t.Errorf("queued before: %v, %v", oldest, err)
	}
}

// constraintsOn are the CHECKs that speak of a column.
func constraintsOn(t *testing.T, db *DB, column string) (names []string) {
	t.Helper()
	if err := db.calls.SQL.Select(&names, `SELECT conname FROM pg_constraint WHERE conrelid = 'tasks'::regclass AND contype = 'c'
		AND pg_get_constraintdef(oid) LIKE '%' || $1 || '%'`, column); err != nil {
		t.Fatal(err)
	}
	return names
}
