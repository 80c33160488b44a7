package postgres

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/millrace/millrace/adapters/postgres/internal/pgconn"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

func TestClaim_FiftyAtOnceClaimEachOfAThousandTasksOnce(t *testing.T) {
	db := migrated(t, Config{MaxConns: 20, CallTimeout: time.Minute})
	tasks, workers := NewTaskRepository(db), NewWorkerRepository(db)
	all, ids := newTasks(t, 1000)
	if err := tasks.Add(t.Context(), all...); err != nil {
		t.Fatal(err)
	}
	beat := beatOf(time.Minute)
	if _, err := workers.Beat(t.Context(), beat); err != nil {
		t.Fatal(err)
	}

	var mu sync.Mutex
	claimed := map[domain.TaskID]int{}
	var claimers sync.WaitGroup
	for i := range 50 {
		mine := slices.Concat(ids[i*20:], ids[:i*20]) // each in another order
		claimers.Go(func() {
			got, err := tasks.Claim(t.Context(), application.ClaimRequest{
				Claim: domain.Claim{Worker: beat.Worker.ID, Beat: 1, Timeout: time.Minute}, IDs: mine, Now: time.Now(),
			})
			if err != nil {
				t.Errorf("claimer %d: %v", i, err)
			}
			mu.Lock()
			defer mu.Unlock()
			for _, task := range got.Tasks {
				claimed[task.ID()]++
			}
		})
	}
	claimers.Wait()
	for _, id := range ids {
		if claimed[id] != 1 {
			t.Errorf("task %s was claimed %d times", id, claimed[id])
		}
	}
}

func TestWrite_TriesAgainAfterADeadlock(t *testing.T) {
	db := migrated(t, Config{})
	all, ids := newTasks(t, 2)
	if err := NewTaskRepository(db).Add(t.Context(), all...); err != nil {
		t.Fatal(err)
	}
	const lock = "SELECT message FROM tasks WHERE id = $1 FOR UPDATE"
	var both, met sync.WaitGroup
	met.Add(2)
	for _, order := range [][]domain.TaskID{{ids[0], ids[1]}, {ids[1], ids[0]}} {
		first := true
		both.Go(func() {
			err := db.calls.Write(t.Context(), func(ctx context.Context, c *sqlx.Conn) error {
				return pgconn.Transact(ctx, c, func(tx *sqlx.Tx) error {
					if _, err := tx.ExecContext(ctx, lock, order[0].String()); err != nil {
						return err
					}
					if first { // each holds what the other wants
						first = false
						met.Done()
						met.Wait()
					}
					_, err := tx.ExecContext(ctx, lock, order[1].String())
					return err
				})
			})
			if err != nil {
				t.Errorf("the victim was not tried again: %v", err)
			}
		})
	}
	both.Wait()
}

func TestWrite_GivesUpOnFailuresThatGoOn(t *testing.T) {
	db := migrated(t, Config{})
	tries := 0
	err := db.calls.Write(t.Context(), func(ctx context.Context, c *sqlx.Conn) error {
		tries++
		_, err := c.ExecContext(ctx, "DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '40001'; END $$")
		return err
	})
	if !errors.Is(err, domain.ErrUnavailable) || tries < 2 || tries > 10 {
		t.Errorf("write = %v after %d tries", err, tries)
	}
}
