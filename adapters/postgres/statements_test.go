package postgres

import (
	"errors"
	"regexp"
	"testing"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/services"
)

// statement matches what the server logs of each one that it executes.
var statement = regexp.MustCompile(`LOG:  (statement|execute [^:]*):`)

func TestClaim_IsOneStatementWithoutLimits(t *testing.T) {
	server := services.StartPostgreSQL(t, services.PostgresConf("log_statement = 'all'"))
	db := migrated(t, Config{URL: server.URL("postgres")})
	tasks, queues, beat := NewTaskRepository(db), NewQueueRepository(db), beatOf(time.Minute)
	if _, err := NewWorkerRepository(db).Beat(t.Context(), beat); err != nil {
		t.Fatal(err)
	}
	set := func(name domain.QueueName, c domain.QueueChange) {
		t.Helper()
		if err := queues.Change(t.Context(), name, func(q *domain.QueueSettings) error { return q.Change(c) }); err != nil {
			t.Fatal(err)
		}
	}
	limit, unpaused := 1000, false
	set("other", domain.QueueChange{MaxRunning: &limit})
	set("default", domain.QueueChange{Paused: &unpaused}) // known, and without a limit
	claim := func(ids []domain.TaskID) (claimed, statements int) {
		t.Helper()
		before := len(statement.FindAllString(server.Log(), -1))
		got, err := tasks.Claim(t.Context(), application.ClaimRequest{
			Claim: domain.Claim{Worker: beat.Worker.ID, Beat: 1, Timeout: time.Minute}, IDs: ids, Now: time.Now(),
		})
		if err != nil {
			t.Fatal(err)
		}
		return len(got.Tasks), len(statement.FindAllString(server.Log(), -1)) - before
	}
	add := func(n int) []domain.TaskID {
		t.Helper()
		all, ids := newTasks(t, n)
		if err := tasks.Add(t.Context(), all...); err != nil {
			t.Fatal(err)
		}
		return ids
	}

	ids := add(100)
	if n, statements := claim(append(ids, ids[7])); n != 100 || statements != 1 {
		t.Errorf("%d tasks were claimed with %d statements, want 100 with one", n, statements)
	}
	if n, statements := claim(append(add(10), ids[0])); n != 10 || statements != 2 {
		t.Errorf("%d tasks beside one that was claimed before, with %d statements; want 10, with two", n, statements)
	}
	ids = add(10)
	unlock := lockTask(t, db, ids[3])
	if n, statements := claim(ids); n != 9 || statements != 3 {
		t.Errorf("%d tasks beside one that is locked, with %d statements; want 9 with three", n, statements)
	}
	unlock()
	set("default", domain.QueueChange{MaxRunning: &limit})
	const most = 7 // two, and in a transaction: lock the queues, lock and count the tasks, claim
	if n, statements := claim(add(10)); n != 10 || statements > most {
		t.Errorf("%d tasks of a limited queue were claimed with %d statements, want 10 with %d at most", n, statements, most)
	}
	const known = 5 // the transaction alone
	if n, statements := claim(add(10)); n != 10 || statements > known {
		t.Errorf("%d more tasks of a limited queue were claimed with %d statements, want 10 with %d at most", n, statements, known)
	}
}

// lockTask locks the task's row as an open transaction does, until unlock is called.
func lockTask(t *testing.T, db *DB, id domain.TaskID) (unlock func()) {
	t.Helper()
	tx, err := db.beats.SQL.Beginx()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tx.Rollback() })
	tx.MustExec("SELECT FROM tasks WHERE id = $1 FOR UPDATE", id.String())
	return func() {
		if err := tx.Rollback(); err != nil {
			t.Fatal(err)
		}
	}
}

// What a try that waits briefly sets is gone after it, and what one of its tasks waits
// for in vain is none of the next save's.
func TestSave_WaitsForALockBrieflyAndOnce(t *testing.T) {
	server := services.StartPostgreSQL(t, services.PostgresConf("log_statement = 'all'"))
	db := migrated(t, Config{URL: server.URL("postgres"), MaxConns: 1})
	r := NewTaskRepository(db)
	tasks, ids := newTasks(t, 1)
	if err := r.Add(t.Context(), tasks...); err != nil {
		t.Fatal(err)
	}
	var limit, after string
	if err := db.calls.SQL.Get(&limit, "SHOW lock_timeout"); err != nil {
		t.Fatal(err)
	}
	if err := tasks[0].Cancel(time.Now()); err != nil {
		t.Fatal(err)
	}
	unlock := lockTask(t, db, ids[0])
	before := len(statement.FindAllString(server.Log(), -1))
	item := &saveItem{task: tasks[0]}
	for range 2 {
		if done, err := r.save(t.Context(), item); done || err != nil {
			t.Fatalf("a locked task is saved: %t, %v", done, err)
		}
		item.again = true
	}
	// With the wait: the first try, one that skips, and the look at the version. Again:
	// one that skips, and the look.
	if n := len(statement.FindAllString(server.Log(), -1)) - before; n != 5 {
		t.Errorf("two tries took %d statements, want 5", n)
	}
	unlock()
	if done, err := r.save(t.Context(), item); !done || err != nil {
		t.Errorf("the task is not saved after the lock: %v", err)
	}
	if err := db.calls.SQL.Get(&after, "SHOW lock_timeout"); err != nil || after != limit {
		t.Errorf("lock_timeout is %s, was %s, %v", after, limit, err)
	}
}

// A lone task is as usual as a full batch: to plan its statements costs more than to run them.
func TestStatements_OfALoneTaskAreNotPlannedAnew(t *testing.T) {
	db := migrated(t, Config{})
	db.calls.SQL.SetMaxOpenConns(1)
	tasks, beat := NewTaskRepository(db), beatOf(time.Minute)
	if _, err := NewWorkerRepository(db).Beat(t.Context(), beat); err != nil {
		t.Fatal(err)
	}
	for range 10 { // PostgreSQL makes five plans before it decides
		all, ids := newTasks(t, 1)
		if err := tasks.Add(t.Context(), all...); err != nil {
			t.Fatal(err)
		}
		got, err := tasks.Claim(t.Context(), application.ClaimRequest{
			Claim: domain.Claim{Worker: beat.Worker.ID, Beat: 1, Timeout: time.Minute}, IDs: ids, Now: time.Now(),
		})
		if err != nil || len(got.Tasks) != 1 {
			t.Fatalf("%d tasks were claimed, %v", len(got.Tasks), err)
		}
		task := got.Tasks[0]
		if err := errors.Join(task.Complete(task.Attempt(), "", time.Now()), tasks.Save(t.Context(), task)); err != nil {
			t.Fatal(err)
		}
	}

	var plans []struct {
		Statement string
		Custom    int `db:"custom_plans"`
	}
	if err := db.calls.SQL.Select(&plans, "SELECT statement, custom_plans FROM pg_prepared_statements WHERE statement ~ '(INSERT INTO|UPDATE) tasks'"); err != nil {
		t.Fatal(err)
	}
	if len(plans) != 3 {
		t.Errorf("%d prepared statements, want those that add, claim and save", len(plans))
	}
	for _, p := range plans {
		if p.Custom > 5 {
			t.Errorf("%d plans for %s", p.Custom, p.Statement)
		}
	}
}
