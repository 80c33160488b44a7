package postgres

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

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
					db.x.MustExec(change)
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

func TestPrepared_KeepsNoMoreThanItsBound(t *testing.T) {
	db := open(t, Config{MaxConns: 1})
	for n := range 3 * maxPrepared {
		if err := db.write(t.Context(), func(ctx context.Context, c *sqlx.Conn) error {
			var got int
			return c.GetContext(prepared(ctx), &got, fmt.Sprintf("SELECT %d", n%(2*maxPrepared)))
		}); err != nil {
			t.Fatal(err)
		}
	}
	var n int
	if err := db.x.Get(&n, "SELECT count(*) FROM pg_prepared_statements"); err != nil || n != maxPrepared {
		t.Errorf("%d statements are prepared, %v; want %d", n, err, maxPrepared)
	}
}

// The cancel request of a caller who leaves must not reach the statement after.
func TestPrepared_IsNotForWhatMayBeCanceled(t *testing.T) {
	db := open(t, Config{MaxConns: 1})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var one, n int
	if err := db.x.GetContext(prepared(ctx), &one, "SELECT $1::int", 1); err != nil {
		t.Fatal(err)
	}
	if err := db.x.Get(&n, "SELECT count(*) FROM pg_prepared_statements"); err != nil || n != 0 {
		t.Errorf("%d statements are prepared, %v", n, err)
	}
}
