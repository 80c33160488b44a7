package sqlite_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jmoiron/sqlx"
	"go.uber.org/goleak"

	"github.com/millrace/millrace/adapters/sqlite"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

func TestOpen_RefusesASecond(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "millrace.db")
	_, closeDB := open(t, path)
	link := filepath.Join(dir, "link.db")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{path, filepath.Join(dir, ".", "millrace.db"), link} {
		_, _, err := sqlite.Open(name)
		if !errors.Is(err, sqlite.ErrInUse) || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), path) {
			t.Errorf("second open of %s: %v; want one line with ErrInUse and the path", name, err)
		}
	}
	closeDB()
	open(t, link)
}

// holderEnv makes this test binary, started again, hold the file that it names.
const holderEnv = "MILLRACE_TEST_HOLD"

func TestMain(m *testing.M) {
	if path := os.Getenv(holderEnv); path != "" {
		hold(path)
	}
	goleak.VerifyTestMain(m)
}

// hold opens the file, stores a task, says so and waits to be killed, or for the
// end of whoever started it.
func hold(path string) {
	db, _, err := sqlite.Open(path)
	if err == nil {
		err = sqlite.Migrate(context.Background(), db, slog.New(slog.DiscardHandler))
	}
	var task *domain.Task
	if err == nil {
		task, err = domain.NewTask(domain.TaskSpec{Message: "survivor", MaxAttempts: new(1)}, time.Now())
	}
	if err == nil {
		err = sqlite.NewTaskRepository(db).Add(context.Background(), task)
	}
	if err != nil {
		os.Stdout.WriteString(err.Error())
		os.Exit(1)
	}
	os.Stdout.WriteString(task.ID().String())
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

func TestOpen_AfterTheProcessThatHadItWasKilled(t *testing.T) {
	path := fresh(t)
	holder := exec.Command(os.Args[0])
	holder.Env = append(os.Environ(), holderEnv+"="+path)
	out, outErr := holder.StdoutPipe()
	_, inErr := holder.StdinPipe()
	if err := errors.Join(outErr, inErr); err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	defer holder.Process.Kill()
	buf := make([]byte, 36)
	n, err := out.Read(buf)
	id, parseErr := domain.ParseTaskID(string(buf[:n]))
	if err := errors.Join(err, parseErr); err != nil {
		t.Fatalf("the holder said %q: %v", buf[:n], err)
	}
	if _, _, err := sqlite.Open(path); !errors.Is(err, sqlite.ErrInUse) {
		t.Errorf("open beside another process: %v, want ErrInUse", err)
	}

	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = holder.Wait() // it was killed

	db, _ := open(t, path)
	task, err := sqlite.NewTaskRepository(db).Get(t.Context(), id)
	if err != nil || task.Message() != "survivor" {
		t.Errorf("a task that was stored before the kill: %v", err)
	}
}

func TestOpen_KeepsWhatWasStored(t *testing.T) {
	for _, name := range []string{"plain.db", "odd name?#%20 ü.db"} {
		path := filepath.Join(t.TempDir(), name)
		db, closeDB := open(t, path)
		task := addTask(t, storeOn(db))
		closeDB()
		if _, err := os.Stat(path); err != nil {
			t.Errorf("the file is not where it was asked to be: %v", err)
		}

		db, _ = open(t, path) // migrates again, which changes nothing
		got, err := storeOn(db).Tasks.Get(t.Context(), task.ID())
		if err != nil {
			t.Fatalf("%s: get after reopening: %v", name, err)
		}
		if diff := cmp.Diff(task.State(), got.State()); diff != "" {
			t.Errorf("%s: after reopening (-want +got):\n%s", name, diff)
		}
	}
}

func TestOpen_SaysWhatIsWrongWithTheFile(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text.db")
	if err := os.WriteFile(text, []byte(strings.Repeat("this is no database\n", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{text, filepath.Join(dir, "no", "such", "folder.db"), dir} {
		_, _, err := sqlite.Open(path)
		if err == nil || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "\n") {
			t.Errorf("open %s: %v; want one line that names it", path, err)
		}
	}
	if err := os.Remove(text); err != nil {
		t.Fatal(err)
	}
	open(t, text) // the failed open has let go of the lock
}

func TestClose_MakesEveryCallUnavailable(t *testing.T) {
	db, closeDB := open(t, fresh(t))
	store := storeOn(db)
	task := addTask(t, store)
	if err := db.Probe(t.Context()); err != nil {
		t.Errorf("probe: %v", err)
	}
	closeDB()
	closeDB() // harmless
	_, getErr := store.Tasks.Get(t.Context(), task.ID())
	_, listsErr := store.Dispatch.QueuedBefore(t.Context(), time.Now())
	_, _, dueErr := store.Dispatch.NextDue(t.Context())
	_, keysErr := store.Dispatch.ForgetKeys(t.Context(), time.Now(), 1)
	_, searchErr := store.Search.List(t.Context(), application.TaskQuery{Limit: 1, Window: 1})
	_, _, countErr := store.Search.Count(t.Context(), application.TaskQuery{Limit: 1, Window: 1})
	_, queuesErr := store.Queues.List(t.Context(), application.QueueQuery{Limit: 10})
	_, queueErr := store.Queues.Get(t.Context(), domain.DefaultQueue)
	_, aheadErr := store.Queues.Ahead(t.Context(), task, 1)
	_, bulkErr := store.Bulks.Get(t.Context(), domain.BulkID{})
	_, stepErr := store.Bulks.Step(t.Context(), application.BulkStep{Limit: 1, Window: 1, Now: time.Now()})
	for name, err := range map[string]error{
		"get": getErr, "lists": listsErr, "next due": dueErr, "forget keys": keysErr, "list": searchErr, "count": countErr,
		"queues": queuesErr, "queue": queueErr, "ahead": aheadErr, "bulk": bulkErr, "step": stepErr, "save": store.Tasks.Save(t.Context(), task), "probe": db.Probe(t.Context()),
		"leave": store.Workers.Leave(t.Context(), "w"),
	} {
		if !errors.Is(err, domain.ErrUnavailable) {
			t.Errorf("%s after close: %v, want ErrUnavailable", name, err)
		}
	}
}

func TestWrite_WaitsForItsTurnNoLongerThanItsContext(t *testing.T) {
	db, _ := open(t, fresh(t))
	store := storeOn(db)
	writer, _ := sqlite.Pools(db)
	turn, err := writer.Connx(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer turn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := store.Workers.Leave(ctx, "w"); !errors.Is(err, domain.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a write that did not get its turn: %v, want ErrUnavailable and the context's error", err)
	}
}

func TestConnections_AreSetAsPromised(t *testing.T) {
	db, _ := open(t, fresh(t))
	writer, reader := sqlite.Pools(db)
	for name, x := range map[string]struct {
		pool      *sqlx.DB
		max       int
		queryOnly string
	}{"writer": {writer, 1, "0"}, "reader": {reader, 4, "1"}} {
		if got := x.pool.Stats().MaxOpenConnections; got != x.max {
			t.Errorf("%s: at most %d connections, want %d", name, got, x.max)
		}
		for pragma, want := range map[string]string{
			"journal_mode": "wal", "synchronous": "2", "busy_timeout": "5000", "foreign_keys": "1", "query_only": x.queryOnly,
		} {
			var got string
			if err := x.pool.Get(&got, "PRAGMA "+pragma); err != nil || got != want {
				t.Errorf("%s: %s = %q, %v; want %q", name, pragma, got, err, want)
			}
		}
	}
}
