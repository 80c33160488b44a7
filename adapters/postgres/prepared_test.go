package postgres

import (
	"testing"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// A write goes on when the server has no use for what was prepared.
func TestPrepared_OutlivesWhatItWasPreparedFor(t *testing.T) {
	for name, change := range map[string]string{
		"a migration changes what it returns": "ALTER TABLE tasks ALTER COLUMN priority TYPE integer",
		"another server behind a pool":        "DEALLOCATE ALL",
	} {
		t.Run(name, func(t *testing.T) {
			db := migrated(t, Config{MaxConns: 1})
			repository, beat := NewTaskRepository(db), beatOf(time.Minute)
			if _, err := NewWorkerRepository(db).Beat(t.Context(), beat); err != nil {
				t.Fatal(err)
			}
			for round := range 3 {
				if round == 2 {
					db.calls.SQL.MustExec(change)
				}
				task := newTask(t)
				if err := repository.Add(t.Context(), task); err != nil {
					t.Fatal(err)
				}
				got, err := repository.Claim(t.Context(), application.ClaimRequest{
					Claim: domain.Claim{Worker: beat.Worker.ID, Beat: 1, Timeout: time.Minute}, IDs: []domain.TaskID{task.ID()}, Now: time.Now(),
				})
				if err != nil || len(got.Tasks) != 1 {
					t.Fatalf("claimed %v, %v", got.Tasks, err)
				}
			}
		})
	}
}
