package postgres

import (
	"testing"
	"time"

	"github.com/millrace/millrace/application"
)

func TestBeat_WaitsForNoOtherCall(t *testing.T) {
	db := migrated(t, Config{MaxConns: 2, CallTimeout: 20 * time.Second})
	for range db.cfg.MaxConns { // calls that do not end
		c, err := db.calls.SQL.Connx(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
	}
	workers, beat := NewWorkerRepository(db), beatOf(time.Minute)
	lost := application.AttemptRef{Task: newTask(t).ID(), Attempt: 1}
	beat.Held = []application.HeldAttempt{{AttemptRef: lost}}
	for beat.Number = 1; beat.Number <= 3; beat.Number++ {
		if answer, err := workers.Beat(t.Context(), beat); err != nil || len(answer.Lost) != 1 {
			t.Errorf("beat %d: %+v, %v; want one that is lost", beat.Number, answer, err)
		}
	}
}
