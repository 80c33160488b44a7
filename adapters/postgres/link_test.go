package postgres

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/services"
)

const shortCall = time.Second

// requireUnavailable checks that call ends with its timeout.
func requireUnavailable(t *testing.T, name string, call func() error) {
	t.Helper()
	began := time.Now()
	err := call()
	if !errors.Is(err, domain.ErrUnavailable) {
		t.Errorf("%s = %v, want ErrUnavailable", name, err)
	}
	if took := time.Since(began); took > 3*shortCall { // a second for the call, and two for a busy machine
		t.Errorf("%s held its caller for %s", name, took)
	}
}

// eventually makes the call until it succeeds: on a busy machine one that is short
// of time may not.
func eventually(t *testing.T, what string, call func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if err = call(); err == nil {
			return
		}
	}
	t.Fatalf("%s: %v", what, err)
}

func TestStalledLink_FreesItsCallerAndRecovers(t *testing.T) {
	direct := services.PostgreSQL(t)
	migrated(t, Config{URL: direct})
	p := newProxy(t, direct)
	db := open(t, Config{URL: p.url, MaxConns: 2, CallTimeout: shortCall})
	tasks, workers, dispatch := NewTaskRepository(db), NewWorkerRepository(db), NewDispatchRepository(db)
	task := newTask(t)
	if err := tasks.Add(t.Context(), task); err != nil {
		t.Fatal(err)
	}

	p.swallowUp.Store(true)
	ctx := t.Context()
	if err := task.Cancel(time.Now()); err != nil {
		t.Fatal(err)
	}
	for name, call := range map[string]func() error{
		"Get":    func() error { _, err := tasks.Get(ctx, task.ID()); return err },
		"Many":   func() error { _, _, err := tasks.GetMany(ctx, task.ID()); return err },
		"Tries":  func() error { _, err := tasks.Attempts(ctx, task.ID()); return err },
		"Add":    func() error { return tasks.Add(ctx, newTask(t)) },
		"Save":   func() error { return tasks.Save(ctx, task) },
		"Claim":  func() error { _, err := tasks.Claim(ctx, application.ClaimRequest{}); return err },
		"Beat":   func() error { _, err := workers.Beat(ctx, beatOf(time.Second)); return err },
		"Leave":  func() error { return workers.Leave(ctx, "w") },
		"Due":    func() error { _, err := dispatch.Due(ctx, time.Now(), application.SweepBatch{Limit: 1}); return err },
		"Sync":   func() error { return NewClock(db, time.Now, slog.New(slog.DiscardHandler)).Sync(ctx) },
		"Schema": func() error { return CheckSchema(ctx, db) },
		"Probe":  func() error { return db.Probe(ctx) },
	} {
		p.swallowUp.Store(false)
		eventually(t, "a connection works before the link stalls for "+name, func() error { return db.Probe(ctx) })
		p.swallowUp.Store(true)
		requireUnavailable(t, name, call)
	}

	p.swallowUp.Store(false)
	eventually(t, "a save after the stall", func() error { return tasks.Save(ctx, task) })
}

func TestStalledLink_AWriteWhoseAnswerIsLostIsNotASuccess(t *testing.T) {
	direct := services.PostgreSQL(t)
	there := NewTaskRepository(migrated(t, Config{URL: direct}))
	p := newProxy(t, direct)
	db := open(t, Config{URL: p.url, CallTimeout: shortCall})
	eventually(t, "a write whose statement is prepared then", func() error { return NewTaskRepository(db).Add(t.Context(), newTask(t)) })

	p.swallowAnswers.Store(true)
	task := newTask(t)
	requireUnavailable(t, "Add", func() error { return NewTaskRepository(db).Add(t.Context(), task) })
	if task.StoredVersion() != 0 {
		t.Error("the task is taken to be stored")
	}
	if _, err := there.Get(t.Context(), task.ID()); err != nil {
		t.Errorf("the server has done the write, all the same: %v", err)
	}
}

func TestProbe_IsBoundedWhenCallsArePatient(t *testing.T) {
	p := newProxy(t, services.PostgreSQL(t))
	db := migrated(t, Config{URL: p.url, CallTimeout: 2 * time.Minute})
	if err := db.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.swallowUp.Store(true)
	began := time.Now()
	if err := db.Probe(t.Context()); !errors.Is(err, domain.ErrUnavailable) {
		t.Errorf("Probe = %v, want ErrUnavailable", err)
	}
	if took := time.Since(began); took > db.cfg.Limits().Probe+time.Minute {
		t.Errorf("Probe took %s", took)
	}
}

func TestWrite_WaitsForAConnectionWithinItsBounds(t *testing.T) {
	db := migrated(t, Config{MaxConns: 1, CallTimeout: shortCall})
	only, err := db.calls.SQL.Connx(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	requireUnavailable(t, "Add", func() error { return NewTaskRepository(db).Add(t.Context(), newTask(t)) })

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := NewTaskRepository(db).Add(ctx, newTask(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("Add under a canceled context = %v", err)
	}
	_ = only.Close()
	if err := NewTaskRepository(db).Add(t.Context(), newTask(t)); err != nil {
		t.Error(err)
	}
}

// A write under way is not canceled: a canceled wait for a synchronous standby
// would be a success that a failover loses.
func TestWrite_IsNotCutShortByItsCaller(t *testing.T) {
	db := migrated(t, Config{})
	ctx, cancel := context.WithCancel(t.Context())
	waitedFor, release := lockTable(t, db, "tasks")
	done := make(chan error, 1)
	go func() {
		done <- db.calls.Write(ctx, func(ctx context.Context, c *sqlx.Conn) error {
			_, err := c.ExecContext(ctx, "DELETE FROM tasks")
			return err
		})
	}()
	waitedFor()
	cancel()
	select {
	case err := <-done:
		t.Fatalf("the write was cut short: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	release()
	if err := <-done; err != nil {
		t.Errorf("the write ended with %v", err)
	}
}

func TestWrite_ThrowsAwayConnectionsThatAreOfNoMoreUse(t *testing.T) {
	for name, spoil := range map[string]string{
		"a standby now":         "SET default_transaction_read_only = on",
		"ended by the operator": "SELECT pg_terminate_backend(pg_backend_pid())",
	} {
		t.Run(name, func(t *testing.T) {
			db := migrated(t, Config{MaxConns: 3})
			tasks := NewTaskRepository(db)
			var conns []*sqlx.Conn
			for range db.cfg.MaxConns {
				c, err := db.calls.SQL.Connx(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				conns = append(conns, c)
			}
			for _, c := range conns {
				// Raw, so that the pool does not learn what has become of the connection.
				_, _ = c.ExecContext(t.Context(), spoil)
			}
			for _, c := range conns {
				_ = c.Close()
			}
			_ = tasks.Add(t.Context(), newTask(t)) // may be the one that finds out
			for range db.cfg.MaxConns {
				if err := tasks.Add(t.Context(), newTask(t)); err != nil {
					t.Errorf("a spoiled connection was used again: %v", err)
				}
			}
		})
	}
}

// A link on which a connection takes longer than a probe may take keeps no program from
// starting.
func TestMigrate_HasMoreTimeThanAProbe(t *testing.T) {
	p := newProxy(t, services.PostgreSQL(t))
	db := open(t, Config{URL: p.url, CallTimeout: 2 * time.Minute})
	p.connectDelay.Store(int64(db.cfg.Limits().Probe + 200*time.Millisecond))
	if err := Migrate(t.Context(), db, slog.New(slog.DiscardHandler)); err != nil {
		t.Error(err)
	}
}
