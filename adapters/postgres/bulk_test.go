package postgres

import (
	"errors"
	"testing"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

func addBulk(t *testing.T, db *DB, f domain.TaskFilter) domain.Bulk {
	t.Helper()
	now := time.Now()
	id := domain.NewTaskID(now)
	b := domain.Bulk{ID: domain.BulkID(id), Action: domain.BulkCancel, Filter: f, Cursor: id, CreatedAt: now, UpdatedAt: now}
	if err := NewBulkRepository(db).Add(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	return b
}

func cancelStep() application.BulkStep {
	return application.BulkStep{
		Limit: 10, Window: 100, Now: time.Now(),
		Decide: func(_ domain.Bulk, t *domain.Task) error { return t.Cancel(time.Now()) },
	}
}

func TestStep_LooksAgainAtWhatSomebodyHasChanged(t *testing.T) {
	db := migrated(t, Config{})
	tasks, ids := newTasks(t, 3)
	if err := NewTaskRepository(db).Add(t.Context(), tasks...); err != nil {
		t.Fatal(err)
	}
	addBulk(t, db, domain.TaskFilter{Statuses: []domain.Status{domain.StatusPending}})

	other := db.calls.SQL.MustBegin()
	defer other.Rollback()
	other.MustExec("UPDATE tasks SET status = 'failed', queued_at = NULL, version = 2 WHERE id = $1", ids[1].String())
	got, err := NewBulkRepository(db).Step(t.Context(), cancelStep())
	if err != nil || len(got.Changed) != 2 || got.Changed[0].ID() != ids[0] || got.Changed[1].ID() != ids[2] || !got.Bulk.DoneAt.IsZero() {
		t.Errorf("changed %v, %v; want the two that nobody has locked", got.Changed, err)
	}
	if err := other.Commit(); err != nil {
		t.Fatal(err)
	}
	got, err = NewBulkRepository(db).Step(t.Context(), cancelStep())
	if err != nil || len(got.Changed) != 0 || got.Bulk.Changed != 2 || got.Bulk.Skipped != 0 || got.Bulk.DoneAt.IsZero() {
		t.Errorf("counted %+v, %v; want 2 changed and none skipped, as the third does not match any more", got.Bulk, err)
	}
}

func TestStep_PassesOverAnActionThatSomebodyElseIsAt(t *testing.T) {
	db := migrated(t, Config{})
	if err := NewTaskRepository(db).Add(t.Context(), newTask(t)); err != nil {
		t.Fatal(err)
	}
	first := addBulk(t, db, domain.TaskFilter{})
	second := addBulk(t, db, domain.TaskFilter{Text: "none"})
	bulks := NewBulkRepository(db)

	busy, release := make(chan struct{}), make(chan struct{})
	slow := cancelStep()
	slow.Decide = func(_ domain.Bulk, t *domain.Task) error {
		close(busy)
		<-release
		return t.Cancel(time.Now())
	}
	done := make(chan error, 1)
	go func() {
		got, err := bulks.Step(t.Context(), slow)
		if got.Bulk.ID != first.ID {
			err = errors.Join(err, errors.New("stepped "+got.Bulk.ID.String()))
		}
		done <- err
	}()
	select {
	case <-busy:
	case err := <-done:
		t.Fatalf("the oldest action was not taken: %v", err)
	}
	if got, err := bulks.Step(t.Context(), cancelStep()); !got.Found || got.Bulk.ID != second.ID || err != nil {
		t.Errorf("stepped %+v, %v; want the other action", got, err)
	}
	if got, err := bulks.Step(t.Context(), cancelStep()); got.Found || err != nil {
		t.Errorf("stepped %+v, %v; want none", got, err)
	}
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestStep_SkipsARowThatCannotBeRead(t *testing.T) {
	db, ids := damaged(t)
	addBulk(t, db, domain.TaskFilter{})
	got, err := NewBulkRepository(db).Step(t.Context(), cancelStep())
	b, changed := got.Bulk, got.Changed
	if err != nil || !got.Found || len(changed) != 1 || changed[0].ID() != ids[1] || b.Changed != 1 || b.Skipped != 1 || b.DoneAt.IsZero() {
		t.Errorf("changed %v, %+v, %v; want the one that can be read", changed, b, err)
	}
}

// A part of a filter that a later version has written must not get lost: without
// it the action would be about other tasks.
func TestStep_DoesNothingWithAFilterThatItDoesNotUnderstand(t *testing.T) {
	db := migrated(t, Config{})
	task := newTask(t)
	if err := NewTaskRepository(db).Add(t.Context(), task); err != nil {
		t.Fatal(err)
	}
	b := addBulk(t, db, domain.TaskFilter{})
	db.calls.SQL.MustExec(`UPDATE bulks SET filter = '{"owner": "ann"}'`)
	if got, err := NewBulkRepository(db).Step(t.Context(), cancelStep()); got.Found || got.Passed[b.ID] == nil || err != nil {
		t.Errorf("%+v, %v; want the action passed over", got, err)
	}
	if got, err := NewBulkRepository(db).Get(t.Context(), b.ID); err == nil {
		t.Errorf("got %+v; want an error", got)
	}
	if got, err := NewTaskRepository(db).Get(t.Context(), task.ID()); err != nil || got.Status() != domain.StatusPending {
		t.Errorf("the task is %v, %v; want it pending", got, err)
	}
}

func TestList_OmitsARowThatCannotBeRead(t *testing.T) {
	db, ids := damaged(t)
	found, err := NewTaskSearch(db).List(t.Context(), application.TaskQuery{Limit: 10, Window: 10})
	if err != nil || len(found.Tasks) != 1 || len(found.Omitted) != 1 || found.Omitted[0] != ids[0] {
		t.Errorf("listed %v, omitted %s, %v; want the one that can be read", found.Tasks, found.Omitted, err)
	}
}

func TestBulkAdd_RefusesAFilterThatWouldComeBackAsAnother(t *testing.T) {
	db := migrated(t, Config{})
	for _, f := range []domain.TaskFilter{{Text: "\xff"}, {Text: "a\x00"}, {Metadata: map[string]string{"a": "\xed\xa0\x80"}}} {
		err := NewBulkRepository(db).Add(t.Context(), domain.Bulk{Action: domain.BulkCancel, Filter: f})
		if domain.Public(err).Code != domain.CodeInvalid {
			t.Errorf("add of %+v: %v", f, err)
		}
	}
}

// A search that takes too long is given up by the server, and the next one is smaller.
func TestBulkStep_ShrinksWhenTheSearchTakesTooLong(t *testing.T) {
	db := migrated(t, Config{})
	bulks := NewBulkRepository(db)
	b, err := domain.NewBulk(domain.BulkCancel, domain.TaskFilter{Text: "x"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := bulks.Add(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	_, release := lockTable(t, db, "tasks") // stands for messages that take long to read
	defer release()
	got, err := bulks.Step(t.Context(), cancelStep())
	if err != nil || !got.Found || got.Bulk.Window >= b.Window || got.Bulk.Tries != 1 || got.Bulk.Cursor != b.Cursor {
		t.Errorf("step = %+v, %v; want a smaller window and the same cursor", got.Bulk, err)
	}
	var waiting int
	if err := db.beats.SQL.Get(&waiting, "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'tasks'::regclass"); err != nil || waiting != 0 {
		t.Errorf("%d backends still wait, %v", waiting, err)
	}
}
