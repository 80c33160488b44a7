package postgres

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/millrace/millrace/adapters/postgres/internal/pgconn"
	"github.com/millrace/millrace/domain"
)

// Every new rule of the schema is to be judged: can input break it?
func TestConstraints_AreThoseOfTheSchema(t *testing.T) {
	db := migrated(t, Config{})
	var found []string
	if err := db.calls.SQL.Select(&found, "SELECT conname FROM pg_constraint WHERE contype = 'c' AND connamespace = current_schema()::regnamespace"); err != nil {
		t.Fatal(err)
	}
	slices.Sort(found)
	if want := slices.Sorted(slices.Values(pgconn.Constraints)); !slices.Equal(found, want) {
		t.Errorf("the schema has %q, and %q are listed", found, want)
	}
}

// What our own rules refuse, no client has sent; what an operator's do, a client has. Here
// a rule of ours stands for a domain that has forgotten one.
func TestAdd_TellsADefectFromARefusal(t *testing.T) {
	db := migrated(t, Config{})
	db.calls.SQL.MustExec(`ALTER TABLE tasks DROP CONSTRAINT tasks_priority_in_range,
		ADD CONSTRAINT tasks_priority_in_range CHECK (priority < 5), ADD CONSTRAINT house_rule CHECK (message <> 'no')`)
	for _, c := range []struct {
		spec domain.TaskSpec
		want domain.Code
	}{
		{domain.TaskSpec{Message: "yes", Priority: 7, MaxAttempts: new(1)}, domain.CodeInternal},
		{domain.TaskSpec{Message: "no", MaxAttempts: new(1)}, domain.CodeRefused},
	} {
		task, err := domain.NewTask(c.spec, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		err = NewTaskRepository(db).Add(t.Context(), task)
		if !errors.Is(err, domain.ErrRefused) || domain.Public(err).Code != c.want {
			t.Errorf("%q: %v, want a refusal that is %s to clients", c.spec.Message, err, c.want)
		}
	}
}
