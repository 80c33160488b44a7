package postgres

import (
	"testing"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// Nothing that is done to the row of a turn keeps all workers from sweeping.
func TestTakeTurn_IsEverybodysWhenTheRowSaysNothing(t *testing.T) {
	db := migrated(t, Config{})
	repository := NewDispatchRepository(db)
	take := func(w domain.WorkerID) bool {
		t.Helper()
		begin := time.Now()
		mine, err := repository.TakeTurn(t.Context(), application.SweepStranded, w, time.Minute)
		if took := time.Since(begin); err != nil || took > 2*time.Second {
			t.Fatalf("it took %v: %v", took, err)
		}
		return mine
	}
	for name, damage := range map[string]string{
		"infinite": "UPDATE millrace_turns SET worker = 'gone', until = 'infinity'",
		"far":      "UPDATE millrace_turns SET worker = 'gone', until = now() + interval '1 year'",
		"removed":  "DELETE FROM millrace_turns",
	} {
		db.calls.SQL.MustExec(damage)
		if !take("a") {
			t.Errorf("%s: it is nobody's turn", name)
		}
		db.calls.SQL.MustExec("INSERT INTO millrace_turns VALUES ('stranded', 'a', now() - interval '1 second') ON CONFLICT DO NOTHING")
	}
	db.calls.SQL.MustExec("UPDATE millrace_turns SET until = now() - interval '1 second'")
	other := db.calls.SQL.MustBegin()
	defer func() { _ = other.Rollback() }()
	other.MustExec("SELECT FROM millrace_turns FOR UPDATE")
	if !take("a") || !take("b") {
		t.Error("locked by somebody: it is nobody's turn")
	}
	if err := repository.EndTurn(t.Context(), application.SweepStranded, "a"); err != nil {
		t.Error(err)
	}
}
