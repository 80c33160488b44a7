package postgres

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/adapters/internal/room"
	"github.com/millrace/millrace/adapters/internal/schema"
	"github.com/millrace/millrace/adapters/postgres/internal/pgconn"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/services"
)

// A server that answers every question, and takes no task.
func TestProbe_FailsWhileNoTaskCanBeStored(t *testing.T) {
	db := migrated(t, Config{URL: services.PostgreSQL(t)})
	if err := db.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	lock, err := db.calls.SQL.BeginTxx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	lock.MustExec("LOCK TABLE tasks IN SHARE MODE")
	time.Sleep(provenFor)
	locked := db.Probe(t.Context())
	if !errors.Is(locked, domain.ErrUnavailable) {
		t.Errorf("while the table is locked: %v, want ErrUnavailable", locked)
	}
	want := "somebody has locked the table tasks: PostgreSQL refuses: canceling statement due to lock timeout (SQLSTATE 55P03)"
	if got := application.ReasonOf(locked); got != want {
		t.Errorf("while the table is locked, the reason is %q, want %q", got, want)
	}
	if err := lock.Rollback(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the probe succeeds", func() error { return db.Probe(t.Context()) })
}

// Work that needs the table says so itself. What the balancer asks does not wait for it.
func TestProbe_DoesNotWaitForALockOnAnotherTable(t *testing.T) {
	db := migrated(t, Config{})
	for _, n := range needed {
		for _, seen := range []bool{true, false} { // whether it has looked before
			if n.table == "tasks" || n.table == schema.VersionTable && !seen {
				continue
			}
			lock, err := db.calls.SQL.BeginTxx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			lock.MustExec("LOCK TABLE " + n.table + " IN ACCESS EXCLUSIVE MODE")
			db.schemaSeen.Store(seen)
			db.proven.Store(time.Time{})
			if err := errors.Join(db.Probe(t.Context()), db.SideTables().Probe(t.Context())); err != nil {
				t.Errorf("while %s is locked, seen %t: %v", n.table, seen, err)
			}
			if err := lock.Rollback(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestProbe_SaysWhatTheServerAnswers(t *testing.T) {
	owner := migrated(t, Config{})
	db := open(t, Config{URL: owner.cfg.URL + "&default_transaction_read_only=on"})
	err := db.Probe(t.Context())
	if want := "PostgreSQL refuses: cannot execute SELECT in a read-only transaction (SQLSTATE 25006)"; application.ReasonOf(err) != want {
		t.Errorf("%v: %s, want %s", err, application.ReasonOf(err), want)
	}
	if strings.Contains(err.Error(), domain.ErrUnavailable.Message) {
		t.Errorf("the log says %v of a server that responds", err)
	}
}

// What is asked every few seconds for ever must leave nothing behind.
func TestProbe_WritesNoRow(t *testing.T) {
	db := migrated(t, Config{URL: services.PostgreSQL(t)})
	var before, after string
	const position = "SELECT pg_current_wal_flush_lsn()"
	if err := db.calls.SQL.Get(&before, position); err != nil {
		t.Fatal(err)
	}
	if err := db.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := db.calls.SQL.Get(&after, position); err != nil || before == after {
		t.Errorf("nothing was flushed: %s, error %v", after, err)
	}
	var size int
	if err := db.calls.SQL.Get(&size, "SELECT pg_relation_size('tasks')"); err != nil || size != 0 {
		t.Errorf("the table has %d bytes, error %v", size, err)
	}
}

// largeTask needs room.
func largeTask(t *testing.T) *domain.Task {
	t.Helper()
	task, err := room.Task()
	if err != nil {
		t.Fatal(err)
	}
	return task
}

// A full disk lets small writes pass, and the tasks of a program that nobody uses just
// now are tried by nobody.
func TestProbe_FailsWhileTheDiskHasNoRoomForTasks(t *testing.T) {
	server := services.StartPostgreSQL(t, services.PostgresSmallLog())
	url := server.URL("postgres")
	db := migrated(t, Config{URL: url})
	tasks, workers := NewTaskRepository(db), NewWorkerRepository(db)
	if err := db.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	server.FillDisk()
	stored, err := 0, tasks.Add(t.Context(), largeTask(t))
	for ; err == nil; err = tasks.Add(t.Context(), largeTask(t)) {
		stored++
	}
	if !errors.Is(err, domain.ErrUnavailable) || pgconn.SQLState(err) != "53100" {
		t.Fatalf("add on a full disk: %v, want ErrUnavailable for 53100", err)
	}
	if _, err := workers.Beat(t.Context(), beatOf(time.Second)); err != nil {
		t.Errorf("a write that needs no room: %v", err)
	}
	idle := open(t, Config{URL: url}) // has stored nothing yet
	for name, db := range map[string]*DB{"the one that failed": db, "another": idle} {
		for range 2 {
			if err := db.Probe(t.Context()); !errors.Is(err, domain.ErrUnavailable) || domain.Public(err) != room.ErrDiskFull {
				t.Errorf("%s: %v, want that the disk is full", name, err)
			}
		}
	}
	server.MakeRoom()
	for _, db := range []*DB{db, idle} {
		eventually(t, "the probe succeeds", func() error { return db.Probe(t.Context()) })
	}
	later := largeTask(t)
	if err := tasks.Add(t.Context(), later); err != nil {
		t.Errorf("once there is room again: %v", err)
	}
	if err := db.Probe(t.Context()); err != nil || db.calls.Shortage.Last() != nil {
		t.Errorf("the shortage goes on: %v", err)
	}
	var found int
	if err := db.calls.SQL.Get(&found, "SELECT count(*) FROM tasks"); err != nil || found != stored+1 {
		t.Errorf("there are %d tasks and not %d: error %v", found, stored+1, err)
	}
}

// A server that cannot write temporary files, and stores tasks all the same, is asked to
// store one only so often: each one that is undone leaves dead rows.
func TestProbe_StoresSeldomWhileOnlyTemporaryFilesFindNoRoom(t *testing.T) {
	db := migrated(t, Config{URL: services.StartPostgreSQL(t).URL("postgres")})
	var folder string
	if err := db.calls.SQL.Get(&folder, "SHOW data_directory"); err != nil {
		t.Fatal(err)
	}
	temporary := filepath.Join(folder, "base", "pgsql_tmp")
	if err := errors.Join(os.RemoveAll(temporary), os.Symlink("/nonexistent/folder", temporary)); err != nil {
		t.Fatal(err)
	}
	if err := db.spill(t.Context()); !pgconn.Lacks(err) {
		t.Fatalf("a temporary file: %v, want that the server lacks something", err)
	}
	var sizes [3]int64
	for i := range sizes {
		if err := errors.Join(db.Probe(t.Context()), db.calls.SQL.Get(&sizes[i], "SELECT pg_table_size('tasks')")); err != nil {
			t.Fatal(err)
		}
	}
	if last, ok := db.roomy.Load().(time.Time); !ok || last.IsZero() || sizes[2]-sizes[0] >= 2*64<<10 {
		t.Errorf("the table grows with each probe: %d bytes", sizes)
	}
}
