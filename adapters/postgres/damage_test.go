package postgres

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

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
	db.calls.SQL.MustExec("ALTER TABLE tasks DROP CONSTRAINT tasks_metadata_is_pairs_of_strings")
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

// What was there before the schema refused it must not hurt what is beside it.
func TestReads_BoundARowThatNoProgramWrites(t *testing.T) {
	db := migrated(t, Config{})
	tasks, workers, queues, bulks := NewTaskRepository(db), NewWorkerRepository(db), NewQueueRepository(db), NewBulkRepository(db)
	if err := tasks.Add(t.Context(), newTask(t)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		beat := beatOf(time.Minute)
		beat.Worker.Queues = []domain.QueueName{domain.DefaultQueue}
		if _, err := workers.Beat(t.Context(), beat); err != nil {
			t.Fatal(err)
		}
	}
	odd, good := addBulk(t, db, domain.TaskFilter{}), addBulk(t, db, domain.TaskFilter{})
	db.calls.SQL.MustExec("ALTER TABLE workers DROP CONSTRAINT workers_counts_in_range; ALTER TABLE bulks DROP CONSTRAINT bulks_counts_in_range")
	for _, change := range []string{
		"capacity = 9223372036854775807, running = 9223372036854775807, beat = 9223372036854775807, abandoned = 9223372036854775807",
		"beat_interval = interval '170000000 years'",
	} {
		db.calls.SQL.MustExec("UPDATE workers SET " + change)
		if infos, err := queues.List(t.Context(), application.QueueQuery{Limit: 10}); err != nil || len(infos) != 1 || infos[0].Workers != 2 {
			t.Errorf("%s: queues %+v, %v", change, infos, err)
		}
		if takers, err := queues.Takers(t.Context(), domain.DefaultQueue); err != nil || len(takers) != 2 {
			t.Errorf("%s: takers %+v, %v", change, takers, err)
		}
	}
	for _, column := range []string{"search_window", "tries", "changed", "skipped"} {
		db.calls.SQL.MustExec("UPDATE bulks SET "+column+" = 9223372036854775807 WHERE id = $1", odd.ID.String())
		if list, err := bulks.List(t.Context(), application.BulkQuery{Limit: 10}); err != nil || len(list.Bulks) != 1 || len(list.Omitted) != 1 {
			t.Errorf("%s: list %+v, %v; want the odd one omitted", column, list, err)
		}
		db.calls.SQL.MustExec("UPDATE bulks SET "+column+" = 0 WHERE id = $1", odd.ID.String())
	}
	db.calls.SQL.MustExec("UPDATE bulks SET tries = 9223372036854775807 WHERE id = $1", odd.ID.String())
	got, err := bulks.Step(t.Context(), cancelStep())
	if err != nil || got.Bulk.ID != good.ID || len(got.Changed) != 1 || got.Passed[odd.ID] == nil {
		t.Errorf("step %+v, %v; want the odd one named and the other done", got, err)
	}
}

// A read that fails because of what is stored says nothing of a write, and a trigger that
// leaves a row out is not taken for a lock alone.
func TestErrors_SayWhatWasTried(t *testing.T) {
	db := migrated(t, Config{CallTimeout: time.Second})
	var n int
	err := db.calls.Read(t.Context(), func(ctx context.Context, q sqlx.QueryerContext) error {
		return sqlx.GetContext(ctx, q, &n, "SELECT 1 / 0")
	})
	if err == nil || errors.Is(err, domain.ErrRefused) || !strings.HasPrefix(err.Error(), "the database could not work out an answer") {
		t.Errorf("read: %v", err)
	}
	task := newTask(t)
	if err := NewTaskRepository(db).Add(t.Context(), task); err != nil {
		t.Fatal(err)
	}
	db.calls.SQL.MustExec(`CREATE FUNCTION leave_out() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
		CREATE TRIGGER leave_out BEFORE UPDATE ON tasks FOR EACH ROW EXECUTE FUNCTION leave_out()`)
	err = errors.Join(task.Cancel(time.Now()), NewTaskRepository(db).Save(t.Context(), task))
	if !errors.Is(err, domain.ErrUnavailable) || !strings.Contains(err.Error(), "or a trigger leaves it out") {
		t.Errorf("save: %v", err)
	}
}

func TestSchema_RefusesWhatNoProgramWrites(t *testing.T) {
	db := migrated(t, Config{})
	if err := NewTaskRepository(db).Add(t.Context(), newTask(t)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := NewTaskRepository(db).AddOnce(t.Context(), keyOf("k", time.Now()), newTask(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := NewWorkerRepository(db).Beat(t.Context(), beatOf(time.Minute)); err != nil {
		t.Fatal(err)
	}
	addBulk(t, db, domain.TaskFilter{})
	const much = "9223372036854775807"
	for table, changes := range map[string][]string{
		"workers": {
			"capacity = " + much, "running = " + much, "abandoned = " + much, "beat = " + much, "capacity = -1", "running = -1",
			"beat_interval = interval '170000000 years'", "beat_interval = interval '-1 s'",
		},
		"bulks":            {"search_window = " + much, "tries = " + much, "changed = " + much, "skipped = " + much, "changed = -1", "skipped = -1"},
		"idempotency_keys": {"task_ids = '{NULL}'", "task_ids = array[array[gen_random_uuid()], array[gen_random_uuid()]]"},
		"tasks":            {`metadata = '["a"]'`, `metadata = '"a"'`, `metadata = 'null'`, `metadata = '{"a": 1}'`, `metadata = '{"a": ["b"]}'`, `metadata = '{"a": "b", "c": {"d": "e"}}'`},
	} {
		for _, change := range changes {
			if _, err := db.calls.SQL.Exec("UPDATE " + table + " SET " + change); err == nil {
				t.Errorf("the schema takes %s of %s", change, table)
			}
		}
	}
	for _, metadata := range []string{`'{}'`, `'{"a": "b"}'`, "NULL"} {
		if _, err := db.calls.SQL.Exec("UPDATE tasks SET metadata = " + metadata); err != nil {
			t.Errorf("the schema refuses metadata %s: %v", metadata, err)
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
