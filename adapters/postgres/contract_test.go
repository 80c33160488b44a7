package postgres

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/contract"
)

// The programs have a role of their own, with no more rights than they ask for.
func TestRepositories(t *testing.T) {
	grant := lesserRole(t)
	contract.Repositories(t, func(t *testing.T) contract.Store {
		owner := migrated(t, Config{})
		store, operator := storeOn(open(t, grant(t, owner))), storeOn(owner)
		store.Delete, store.Refuse, store.Damage = operator.Delete, operator.Refuse, operator.Damage
		store.Unprotect, store.BreakFilter, store.RefuseBulk = operator.Unprotect, operator.BreakFilter, operator.RefuseBulk
		store.RefuseRecords, store.BreakMetadata, store.BreakKey = operator.RefuseRecords, operator.BreakMetadata, operator.BreakKey
		return store
	})
}

// lesserRole makes a role, and returns what gives it the rights that a program needs on a
// database, which is then used as that role.
func lesserRole(t *testing.T) (grant func(t *testing.T, owner *DB) Config) {
	t.Helper()
	admin, role := open(t, Config{}), "millrace_test_"+strings.ToLower(rand.Text())
	admin.calls.SQL.MustExec("CREATE ROLE " + role + " LOGIN")
	t.Cleanup(func() { admin.calls.SQL.MustExec("DROP ROLE " + role) })
	return func(t *testing.T, owner *DB) Config {
		t.Helper()
		for _, n := range needed {
			owner.calls.SQL.MustExec("GRANT " + n.rights + " ON " + n.table + " TO " + role)
		}
		u, err := url.Parse(owner.cfg.URL)
		if err != nil {
			t.Fatal(err)
		}
		u.User = url.User(role)
		return Config{URL: u.String()}
	}
}

func TestCheckRights_NamesEachRightThatIsMissing(t *testing.T) {
	grant, owner := lesserRole(t), migrated(t, Config{})
	cfg := grant(t, owner)
	db := open(t, cfg)
	if err := errors.Join(CheckRights(t.Context(), db), db.Probe(t.Context())); err != nil {
		t.Fatalf("with all rights: %v", err)
	}
	u, err := url.Parse(cfg.URL)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range needed {
		for right := range strings.SplitSeq(n.rights, ", ") {
			change := right + " ON " + n.table
			owner.calls.SQL.MustExec("REVOKE " + change + " FROM " + u.User.Username())
			want := "lacks rights: " + right + " on " + n.table
			if err := CheckRights(t.Context(), db); err == nil || errors.Is(err, domain.ErrUnavailable) || !strings.Contains(err.Error(), want+"; grant them") {
				t.Errorf("without %s: %v", change, err)
			}
			runs, side := db.proveRights(t.Context()), db.SideTables().Probe(t.Context())
			if sideTables[n.table] {
				runs, side = side, runs
			}
			if domain.Public(runs).Code != domain.CodeUnavailable || !strings.HasSuffix(runs.Error(), want) || side != nil {
				t.Errorf("a program that runs, without %s: %v; the other probe: %v", change, runs, side)
			}
			owner.calls.SQL.MustExec("GRANT " + change + " TO " + u.User.Username())
		}
	}
}

func TestRowLocks(t *testing.T) {
	contract.RowLocks(t, func(t *testing.T) (contract.Store, contract.Locks) {
		db := migrated(t, Config{})
		return storeOn(db), locksOf(db)
	})
}

// locksOf lock rows in transactions of their own.
func locksOf(db *DB) contract.Locks {
	lock := func(t *testing.T, from string, args ...any) (release func()) {
		t.Helper()
		tx := db.beats.SQL.MustBegin()
		var rows []int
		if err := tx.Select(&rows, "SELECT 1 FROM "+from+" FOR UPDATE", args...); err != nil || len(rows) != 1 {
			t.Fatalf("lock: %d rows, %v", len(rows), err)
		}
		release = func() { _ = tx.Rollback() } // of no effect the second time
		t.Cleanup(release)
		return release
	}
	return contract.Locks{
		Task: func(t *testing.T, id domain.TaskID) func() { return lock(t, "tasks WHERE id = $1", id.String()) },
		Queue: func(t *testing.T, name domain.QueueName) func() {
			return lock(t, "queues WHERE name = $1", string(name))
		},
		Key: func(t *testing.T, k application.IdempotencyKey) func() {
			return lock(t, "idempotency_keys WHERE owner = $1 AND key = $2", k.Owner, k.Key)
		},
		NewKey: func(t *testing.T, k application.IdempotencyKey) func() {
			t.Helper()
			tx := db.beats.SQL.MustBegin()
			tx.MustExec("INSERT INTO idempotency_keys VALUES ($1, $2, $3, '{}', $4)", k.Owner, k.Key, k.Fingerprint[:], k.Expires)
			release := func() { _ = tx.Rollback() }
			t.Cleanup(release)
			return release
		},
		Worker: func(t *testing.T, id domain.WorkerID) func() { return lock(t, "workers WHERE id = $1", string(id)) },
	}
}

func BenchmarkRepositories(b *testing.B) {
	contract.Benchmarks(b, func(b *testing.B) contract.Store { return emptyStore(b) })
}

func emptyStore(t testing.TB) contract.Store {
	t.Helper()
	return storeOn(migrated(t, Config{}))
}

func storeOn(db *DB) contract.Store {
	return contract.Store{
		Tasks: NewTaskRepository(db), Workers: NewWorkerRepository(db), Dispatch: NewDispatchRepository(db),
		Queues: NewQueueRepository(db), Search: NewTaskSearch(db), Bulks: NewBulkRepository(db),
		Delete: func(t *testing.T, id domain.TaskID) {
			t.Helper()
			db.calls.SQL.MustExecContext(t.Context(), `DELETE FROM tasks WHERE id = $1`, id.String())
		},
		Double: func(t *testing.T, id domain.TaskID) {
			t.Helper()
			db.calls.SQL.MustExecContext(t.Context(), `INSERT INTO attempts
				SELECT task_id, number + 1, worker, started_at, ended_at, outcome, error FROM attempts WHERE task_id = $1`, id.String())
		},
		Refuse: func(t *testing.T, id domain.TaskID) {
			t.Helper()
			db.calls.SQL.MustExecContext(t.Context(), fmt.Sprintf(`ALTER TABLE tasks ADD CHECK (id <> '%s') NOT VALID`, id))
		},
		RefuseRecords: func(t *testing.T) func() {
			t.Helper()
			db.calls.SQL.MustExecContext(t.Context(), "ALTER TABLE attempts RENAME TO elsewhere")
			return func() { db.calls.SQL.MustExecContext(t.Context(), "ALTER TABLE elsewhere RENAME TO attempts") }
		},
		RefuseBulk: func(t *testing.T, id domain.BulkID) {
			t.Helper()
			db.calls.SQL.MustExecContext(t.Context(), fmt.Sprintf(`ALTER TABLE bulks ADD CHECK (id <> '%s') NOT VALID`, id))
		},
		Damage: func(t *testing.T, id domain.TaskID, column string, latest bool) error {
			t.Helper()
			value := "-infinity"
			if latest {
				value = "infinity"
			}
			_, err := db.calls.SQL.ExecContext(t.Context(), fmt.Sprintf("UPDATE tasks SET %s = '%s' WHERE id = '%s'", column, value, id))
			return err
		},
		Unprotect: func(t *testing.T) {
			t.Helper()
			db.calls.SQL.MustExecContext(t.Context(), "ALTER TABLE tasks DROP CONSTRAINT IF EXISTS tasks_times_in_range")
		},
		BreakMetadata: func(t *testing.T, id domain.TaskID) {
			t.Helper()
			db.calls.SQL.MustExecContext(t.Context(), "ALTER TABLE tasks DROP CONSTRAINT IF EXISTS tasks_metadata_is_pairs_of_strings")
			db.calls.SQL.MustExecContext(t.Context(), `UPDATE tasks SET metadata = '{"a": 1}' WHERE id = $1`, id.String())
		},
		BreakKey: func(t *testing.T, k application.IdempotencyKey) {
			t.Helper()
			db.calls.SQL.MustExecContext(t.Context(), "ALTER TABLE idempotency_keys DROP CONSTRAINT IF EXISTS idempotency_keys_ids_are_a_list")
			db.calls.SQL.MustExecContext(t.Context(), "UPDATE idempotency_keys SET task_ids = '{NULL}' WHERE owner = $1 AND key = $2", k.Owner, k.Key)
		},
		BreakFilter: func(t *testing.T, id domain.BulkID) {
			t.Helper()
			db.calls.SQL.MustExecContext(t.Context(), `UPDATE bulks SET filter = '{"owner": "a"}' WHERE id = $1`, id.String())
		},
	}
}
