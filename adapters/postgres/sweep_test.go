package postgres

import (
	"testing"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// A compare-and-set hides it when a sweep waits for a row of another, so this
// looks at the wait itself, which would outlast the call timeout.
func TestSweeps_DoNotWaitForALockedRow(t *testing.T) {
	const (
		interval = time.Minute
		unmark   = "UPDATE tasks SET queued_at = NULL"
		hold     = `UPDATE tasks SET status = 'processing', queued_at = NULL, attempt = 1, started_at = now(),
			deadline = now(), worker = `
	)
	later := time.Now().Add(time.Hour)
	canceled := application.SweepBatch{Limit: 10, Decide: func(t *domain.Task) error { return t.Cancel(later) }}
	rescued := application.SweepBatch{Limit: 10, Decide: func(t *domain.Task) error {
		return t.Rescue(domain.RetryPolicy{MaxRescues: 3}, later)
	}}
	for name, check := range map[string]struct {
		prepare string
		sweep   func(db *DB, beat application.Beat) error
	}{
		"due": {unmark, func(db *DB, _ application.Beat) error {
			_, err := NewDispatchRepository(db).Due(t.Context(), later, canceled)
			return err
		}},
		"stranded": {"UPDATE workers SET host = 'there'", func(db *DB, _ application.Beat) error {
			_, err := NewDispatchRepository(db).Stranded(t.Context(), map[application.Lane]time.Time{defaultList: later}, canceled)
			return err
		}},
		"orphaned": {hold + "'nobody'", func(db *DB, beat application.Beat) error {
			observer := application.Observer{Worker: beat.Worker.ID, Interval: interval, Lease: time.Hour}
			_, err := NewDispatchRepository(db).Orphaned(t.Context(), observer, rescued)
			return err
		}},
		"beat": {hold + "(SELECT id FROM workers)", func(db *DB, beat application.Beat) error {
			beat.Number = 2
			_, err := NewWorkerRepository(db).Beat(t.Context(), beat)
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			db := migrated(t, Config{CallTimeout: 20 * time.Second})
			all, ids := newTasks(t, 2)
			if err := NewTaskRepository(db).Add(t.Context(), all...); err != nil {
				t.Fatal(err)
			}
			beat := beatOf(interval)
			if _, err := NewWorkerRepository(db).Beat(t.Context(), beat); err != nil {
				t.Fatal(err)
			}
			db.calls.SQL.MustExec("UPDATE workers SET beating_since = now() - interval '1 hour'")
			db.calls.SQL.MustExec(check.prepare)
			other := db.calls.SQL.MustBegin()
			defer func() { _ = other.Rollback() }()
			other.MustExec("SELECT FROM tasks WHERE id = $1 FOR UPDATE", ids[0].String())

			if err := check.sweep(db, beat); err != nil {
				t.Errorf("the sweep waited: %v", err)
			}
			var changed []string
			if err := db.calls.SQL.Select(&changed, "SELECT id::text FROM tasks WHERE version > 1"); err != nil {
				t.Fatal(err)
			}
			if len(changed) != 1 || changed[0] != ids[1].String() {
				t.Errorf("changed %v, want the one that is not locked, %s", changed, ids[1])
			}
		})
	}
}
