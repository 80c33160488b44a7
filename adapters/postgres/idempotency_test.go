package postgres

import (
	"crypto/sha256"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/adapters/postgres/internal/pgenc"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

func keyOf(key string, now time.Time) application.IdempotencyKey {
	return application.IdempotencyKey{Key: key, Fingerprint: sha256.Sum256([]byte(key)), Now: now, Expires: now.Add(time.Hour)}
}

// tasksWith makes n tasks with that metadata.
func tasksWith(t *testing.T, n int, metadata map[string]string) []*domain.Task {
	t.Helper()
	tasks := make([]*domain.Task, n)
	for i := range tasks {
		task, err := domain.NewTask(domain.TaskSpec{Message: "m", MaxAttempts: new(1), Metadata: metadata}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		tasks[i] = task
	}
	return tasks
}

func TestInsertOnce_StoresTheTasksOfFreshKeysAndNoOthers(t *testing.T) {
	db := migrated(t, Config{})
	repository, now := NewTaskRepository(db), time.Now()
	if _, _, err := repository.AddOnce(t.Context(), keyOf("c", now.Add(-2*time.Hour)), tasksWith(t, 1, nil)...); err != nil { // has expired
		t.Fatal(err)
	}
	remembered := tasksWith(t, 2, nil)
	if _, _, err := repository.AddOnce(t.Context(), keyOf("b", now), remembered...); err != nil {
		t.Fatal(err)
	}
	pairs := map[string]string{"k": "v"}
	keys := []keyed{
		{IdempotencyKey: keyOf("a", now), tasks: tasksWith(t, 3, pairs)}, {IdempotencyKey: keyOf("b", now), tasks: tasksWith(t, 2, pairs)},
		{IdempotencyKey: keyOf("c", now), tasks: tasksWith(t, 1, pairs)}, {IdempotencyKey: keyOf("d", now), tasks: tasksWith(t, 2, nil)},
	}

	stored, err := insertOnce(t.Context(), db.calls.SQL, now, keys...)

	if err != nil || !slices.Equal(stored, []bool{true, false, true, true}) {
		t.Fatalf("stored %v, %v; want all but the second", stored, err)
	}
	for i, k := range keys {
		got, _, err := repository.GetMany(t.Context(), idsOf(k.tasks)...)
		if want := len(k.tasks); err != nil || stored[i] && len(got) != want || !stored[i] && len(got) != 0 {
			t.Errorf("%d of %d tasks of key %s are stored, %v", len(got), want, k.Key, err)
		}
		first, _, err := repository.AddOnce(t.Context(), k.IdempotencyKey, tasksWith(t, len(k.tasks), pairs)...)
		want := k.tasks
		if !stored[i] {
			want = remembered
		}
		if diff := cmp.Diff(idsOf(want), idsOf(first)); err != nil || diff != "" {
			t.Errorf("key %s: %v, tasks (-want +got):\n%s", k.Key, err, diff)
		}
	}
	wantPairs(t, db, 4)
}

func TestAdd_WritesWhatFindsTasksByTheirMetadata(t *testing.T) {
	db := migrated(t, Config{})
	tasks := append(tasksWith(t, 2, map[string]string{"k": "v", "l": `it's "so"`}), tasksWith(t, 3, nil)...)
	if err := NewTaskRepository(db).Add(t.Context(), tasks...); err != nil {
		t.Fatal(err)
	}
	wantPairs(t, db, 4)
	var n int
	if err := db.calls.SQL.Get(&n, "SELECT count(*) FROM task_metadata WHERE key = 'l' AND value = $1 AND task_id = ANY($2::uuid[])",
		`it's "so"`, pgenc.UUIDs(idsOf(tasks[:2]))); err != nil || n != 2 {
		t.Errorf("%d of the 2 tasks are found, %v", n, err)
	}
}

func wantPairs(t *testing.T, db *DB, want int) {
	t.Helper()
	var n int
	if err := db.calls.SQL.Get(&n, "SELECT count(*) FROM task_metadata"); err != nil || n != want {
		t.Errorf("%d pairs of metadata are stored, %v; want %d", n, err, want)
	}
}

func TestAddOnce_TellsWhenATaskOfTheKeyIsGone(t *testing.T) {
	db := migrated(t, Config{})
	repository, k, tasks := NewTaskRepository(db), keyOf("key", time.Now()), tasksWith(t, 2, nil)
	if _, _, err := repository.AddOnce(t.Context(), k, tasks...); err != nil {
		t.Fatal(err)
	}
	db.calls.SQL.MustExec("DELETE FROM tasks WHERE id = $1", tasks[1].ID().String())
	again := tasksWith(t, 2, nil)
	if first, _, err := repository.AddOnce(t.Context(), k, again...); err == nil || len(first) > 0 {
		t.Errorf("AddOnce = %d tasks, %v; want an error, as these were not stored either", len(first), err)
	}
	if got, _, err := repository.GetMany(t.Context(), idsOf(again)...); err != nil || len(got) > 0 {
		t.Errorf("%d tasks of the repeat are stored, %v", len(got), err)
	}
}

// A row that somebody has changed must not pass for a new key: its caller would be told
// that tasks are stored which are not.
func TestAddOnce_RefusesAKeyThatNamesOtherThanItsTasks(t *testing.T) {
	db := migrated(t, Config{})
	repository, k := NewTaskRepository(db), keyOf("a", time.Now())
	if _, _, err := repository.AddOnce(t.Context(), k, tasksWith(t, 2, nil)...); err != nil {
		t.Fatal(err)
	}
	for _, cut := range []string{"task_ids[2:]", "'{}'"} {
		db.calls.SQL.MustExecContext(t.Context(), "UPDATE idempotency_keys SET task_ids = "+cut)
		if first, _, err := repository.AddOnce(t.Context(), k, tasksWith(t, 2, nil)...); err == nil {
			t.Errorf("task_ids = %s: AddOnce = %v, want an error", cut, first)
		}
	}
}
