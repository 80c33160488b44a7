package postgres

import (
	"testing"
	"time"
)

func TestBeat_WaitsForNoOtherCall(t *testing.T) {
	db := migrated(t, Config{MaxConns: 2, CallTimeout: 2 * time.Second})
	for range db.cfg.MaxConns { // calls that do not end
		c, err := db.x.Connx(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
	}
	workers, beat := NewWorkerRepository(db), beatOf(time.Minute)
	for beat.Number = 1; beat.Number <= 3; beat.Number++ {
		if _, err := workers.Beat(t.Context(), beat); err != nil {
			t.Errorf("beat %d: %v", beat.Number, err)
		}
	}
	if err := workers.Leave(t.Context(), beat.Worker.ID); err != nil {
		t.Errorf("leave: %v", err)
	}
}
