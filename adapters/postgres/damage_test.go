package postgres

import (
	"errors"
	"testing"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// defaultList is where tasks wait that say nothing else.
var defaultList = application.Lane{Queue: domain.DefaultQueue}

// damaged is a store with two pending tasks, of which no one can read the first.
func damaged(t *testing.T) (*DB, []domain.TaskID) {
	t.Helper()
	db := migrated(t, Config{})
	tasks, ids := newTasks(t, 2)
	if err := NewTaskRepository(db).Add(t.Context(), tasks...); err != nil {
		t.Fatal(err)
	}
	db.calls.SQL.MustExec("ALTER TABLE tasks DROP CONSTRAINT tasks_counters_in_range")
	db.calls.SQL.MustExec("UPDATE tasks SET max_attempts = 0 WHERE id = $1", ids[0].String())
	return db, ids
}

func TestSweep_PassesOverARowThatCannotBeRead(t *testing.T) {
	db, ids := damaged(t)
	mark := func(t *domain.Task) error { return t.MarkQueued(time.Now()) }
	swept, err := NewDispatchRepository(db).Stranded(t.Context(), map[application.Lane]time.Time{defaultList: time.Now().Add(time.Second)}, application.SweepBatch{Limit: 10, Decide: mark})
	if err != nil {
		t.Fatal(err)
	}
	if swept.Found != 2 || len(swept.Changed) != 1 || swept.Changed[0].ID() != ids[1] || swept.Passed[ids[0]] == nil {
		t.Errorf("swept %+v, want the second changed and the first passed over", swept)
	}
}

func TestGetMany_LeavesOutARowThatCannotBeRead(t *testing.T) {
	db, ids := damaged(t)
	if got, _, err := NewTaskRepository(db).GetMany(t.Context(), ids...); err != nil || len(got) != 1 || got[0].ID() != ids[1] {
		t.Errorf("GetMany = %v, %v; want the one that can be read", got, err)
	}
}

func TestGetMany_LeavesOutMetadataThatCannotBeRead(t *testing.T) {
	db := migrated(t, Config{})
	repository := NewTaskRepository(db)
	for _, metadata := range []string{`["a"]`, `{"a": 1}`, `"a"`} {
		tasks, ids := newTasks(t, 2)
		if err := repository.Add(t.Context(), tasks...); err != nil {
			t.Fatal(err)
		}
		db.calls.SQL.MustExec("UPDATE tasks SET metadata = $1 WHERE id = $2", metadata, ids[0].String())
		if got, _, err := repository.GetMany(t.Context(), ids...); err != nil || len(got) != 1 || got[0].ID() != ids[1] {
			t.Errorf("GetMany = %v, %v; want the one that can be read", got, err)
		}
		if got, err := repository.Get(t.Context(), ids[0]); err == nil || errors.Is(err, domain.ErrUnavailable) {
			t.Errorf("Get = %v, %v; want an error that says what is wrong", got, err)
		}
	}
}

func TestBeat_RenewsAndGivesBackDespiteARowThatCannotBeRead(t *testing.T) {
	db, ids := damaged(t)
	tasks, workers := NewTaskRepository(db), NewWorkerRepository(db)
	beat := beatOf(time.Minute)
	if _, err := workers.Beat(t.Context(), beat); err != nil {
		t.Fatal(err)
	}
	claimed, err := tasks.Claim(t.Context(), application.ClaimRequest{
		Claim: domain.Claim{Worker: beat.Worker.ID, Beat: 1, Timeout: time.Minute}, IDs: ids, Now: time.Now(),
	})
	if err != nil || len(claimed.Tasks) != 1 || claimed.Tasks[0].ID() != ids[1] {
		t.Fatalf("claimed %v, %v; want the one that can be read", claimed.Tasks, err)
	}

	beat.Number = 2
	if _, err := workers.Beat(t.Context(), beat); err != nil {
		t.Fatal(err)
	}
	var number int64
	if err := db.calls.SQL.Get(&number, "SELECT beat FROM workers WHERE id = $1", string(beat.Worker.ID)); err != nil || number != 2 {
		t.Errorf("the lease stands at beat %d, %v; want 2", number, err)
	}
	if got, err := tasks.Get(t.Context(), ids[1]); err != nil || got.Status() != domain.StatusPending {
		t.Errorf("the task behind the damage was not given back: %v, %v", got, err)
	}
}

func TestBeat_KeepsTheLeaseWhenGivingBackFails(t *testing.T) {
	db, _ := damaged(t)
	db.calls.SQL.MustExec("ALTER TABLE tasks RENAME TO elsewhere")
	beat := beatOf(time.Minute)
	if _, err := NewWorkerRepository(db).Beat(t.Context(), beat); err == nil {
		t.Error("the failure was not told")
	}
	var workers int
	if err := db.calls.SQL.Get(&workers, "SELECT count(*) FROM workers WHERE id = $1", string(beat.Worker.ID)); err != nil || workers != 1 {
		t.Errorf("%d workers, %v; want the one that beat", workers, err)
	}
}
