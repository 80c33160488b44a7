package postgres

import (
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/adapters/postgres/internal/pgenc"
	"github.com/millrace/millrace/domain"
)

// However many tasks share a pair, and however many are deleted at once, each pair is
// looked for by itself.
func TestDelete_LooksForEachPairByItself(t *testing.T) {
	db := migrated(t, Config{CallTimeout: time.Minute})
	fill(t, db, 20_000)
	_, ids := newTasks(t, 1000)
	var lines []string
	if err := db.calls.SQL.Select(&lines, "EXPLAIN "+deleteOursSQL, pgenc.UUIDs(ids)); err != nil {
		t.Fatal(err)
	}
	plan := strings.Join(lines, "\n")
	const each = "Index Cond: ((key = ANY (ARRAY[p.key])) AND (value = ANY (ARRAY[p.value])) AND (task_id = ANY (ARRAY[p.id])))"
	if !strings.Contains(plan, each) || !strings.Contains(plan, "Nested Loop") {
		t.Errorf("the plan:\n%s", plan)
	}
}

// A trigger that leaves a row out without an error keeps that task, and no other.
func TestBulkStep_SkipsWhatATriggerKeepsFromBeingDeleted(t *testing.T) {
	db := migrated(t, Config{})
	tasks, ids := newTasks(t, 5)
	for _, task := range tasks {
		if err := task.Cancel(time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	if err := NewTaskRepository(db).Add(t.Context(), tasks...); err != nil {
		t.Fatal(err)
	}
	db.calls.SQL.MustExec(`CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
		CREATE TRIGGER keep BEFORE DELETE ON tasks FOR EACH ROW WHEN (OLD.id = '` + ids[2].String() + `') EXECUTE FUNCTION keep()`)
	b, err := domain.NewBulk(domain.BulkDelete, domain.TaskFilter{}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := NewBulkRepository(db).Add(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	step := cancelStep()
	step.Decide = func(b domain.Bulk, t *domain.Task) error { return b.Action.Apply(t, time.Now()) }
	got, err := NewBulkRepository(db).Step(t.Context(), step)
	if err != nil || got.Bulk.Changed != 4 || got.Bulk.Skipped != 1 || got.Bulk.DoneAt.IsZero() {
		t.Errorf("%+v, %v; want four deleted and one skipped", got.Bulk, err)
	}
	var left []string
	if err := db.calls.SQL.Select(&left, "SELECT id FROM tasks"); err != nil || len(left) != 1 || left[0] != ids[2].String() {
		t.Errorf("%v are left, %v; want %s", left, err, ids[2])
	}
}
