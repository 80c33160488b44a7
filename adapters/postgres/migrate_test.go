package postgres

import (
	"database/sql"
	"errors"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/uuid"
	"github.com/lib/pq"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/services"
)

func TestMigrate_AnyNumberAtOnce(t *testing.T) {
	url := services.PostgreSQL(t)
	var all sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		db := open(t, Config{URL: url})
		all.Go(func() { errs[i] = Migrate(t.Context(), db, slog.New(slog.DiscardHandler)) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	db := open(t, Config{URL: url})
	if err := CheckSchema(t.Context(), db); err != nil {
		t.Error(err)
	}
	if err := Migrate(t.Context(), db, slog.New(slog.DiscardHandler)); err != nil {
		t.Errorf("again: %v", err)
	}
}

func TestMigrate_WaitsForTheOneThatIsAtWork(t *testing.T) {
	db := open(t, Config{})
	other, err := db.calls.SQL.Connx(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	if _, err := other.ExecContext(t.Context(), "SELECT pg_advisory_lock($1)", lock.DefaultLockID); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- Migrate(t.Context(), db, slog.New(slog.DiscardHandler)) }()
	select {
	case err := <-done:
		t.Fatalf("it did not wait: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	if _, err := other.ExecContext(t.Context(), "SELECT pg_advisory_unlock($1)", lock.DefaultLockID); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// migratedByGoose migrates with goose's default table of versions, as other programs
// do and as the first Millrace did.
func migratedByGoose(t *testing.T, db *DB, files fs.FS) {
	t.Helper()
	provider, err := goose.NewProvider(goose.DialectPostgres, db.calls.SQL.DB, files)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := provider.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// migratedByTheFirst is what the first Millrace has left, with a task in it.
func migratedByTheFirst(t *testing.T) (*DB, *domain.Task) {
	t.Helper()
	d, err := dialect()
	if err != nil {
		t.Fatal(err)
	}
	db, task := open(t, Config{}), newTask(t)
	const name = "00001_tasks_and_workers.sql"
	text, err := fs.ReadFile(d.Files, name)
	if err != nil {
		t.Fatal(err)
	}
	migratedByGoose(t, db, fstest.MapFS{name: {Data: text}})
	of := task.State()
	db.calls.SQL.MustExec(`
		INSERT INTO tasks (id, message, queue, priority, status, created_at, updated_at, version, run_at, queued_at,
			max_attempts, attempt, failures, rescues, claim_beat, last_error, result, result_truncated)
		VALUES ($1, $2, $3, $4, $5, $6, $6, 1, $6, $6, $7, 0, 0, 0, 0, '', '', false)`,
		of.ID.String(), of.Message, string(of.Queue), of.Priority, string(of.Status), of.CreatedAt, of.MaxAttempts)
	return db, task
}

// allVersions are those that a migrated database records.
func allVersions(t *testing.T) []int64 {
	t.Helper()
	d, err := dialect()
	if err != nil {
		t.Fatal(err)
	}
	files, err := fs.Glob(d.Files, "*.sql")
	if err != nil {
		t.Fatal(err)
	}
	versions := []int64{0}
	for _, name := range files {
		version, err := goose.NumericComponent(name)
		if err != nil {
			t.Fatal(err)
		}
		versions = append(versions, version)
	}
	return versions
}

// wantVersions checks what a table of versions records.
func wantVersions(t *testing.T, db *DB, table string, want ...int64) {
	t.Helper()
	var got []int64
	if err := db.calls.SQL.Select(&got, "SELECT version_id FROM "+table+" ORDER BY id"); err != nil || !slices.Equal(got, want) {
		t.Errorf("%s records %v, %v; want %v", table, got, err, want)
	}
}

// The tables of versions: Millrace's, and goose's default.
const ours, theirs = "millrace_schema_version", "goose_db_version"

func TestMigrate_AdoptsWhatTheFirstMillraceHasMigrated(t *testing.T) {
	db, task := migratedByTheFirst(t)
	if err := CheckSchema(t.Context(), db); !errors.Is(err, domain.ErrUnavailable) {
		t.Errorf("before it is adopted: %v, want it waited for", err)
	}
	errs := make([]error, 4)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() { errs[i] = Migrate(t.Context(), db, slog.New(slog.DiscardHandler)) })
	}
	all.Wait()
	if err := errors.Join(errors.Join(errs...), CheckSchema(t.Context(), db)); err != nil {
		t.Fatal(err)
	}
	wantVersions(t, db, ours, allVersions(t)...)
	wantVersions(t, db, theirs, 0, 1) // for programs of before
	if _, err := NewTaskRepository(db).Get(t.Context(), task.ID()); err != nil {
		t.Error(err)
	}
}

// migratedTo migrates as the version did whose last migration this is.
func migratedTo(t *testing.T, db *DB, version int64) {
	t.Helper()
	d, err := dialect()
	if err != nil {
		t.Fatal(err)
	}
	provider, err := d.Provider(db.calls.SQL.DB)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := provider.UpTo(t.Context(), version); err != nil {
		t.Fatal(err)
	}
}

// No task is purged while its key is remembered: not even one of the version before.
func TestMigrate_KnowsUntilWhenTheKeysOfBeforeAreRemembered(t *testing.T) {
	db := open(t, Config{})
	migratedTo(t, db, 7)
	live := time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)
	insert := func() string {
		id := newTask(t).ID().String()
		db.calls.SQL.MustExec(`INSERT INTO tasks (id, message, queue, priority, status, created_at, updated_at, version, run_at, queued_at,
			max_attempts, attempt, failures, rescues, claim_beat, last_error, result, result_truncated)
			VALUES ($1, 'm', 'default', 0, 'pending', now(), now(), 3, now(), now(), 5, 0, 0, 0, 0, '', '', false)`, id)
		return id
	}
	remember := func(key, until string, ids ...string) {
		db.calls.SQL.MustExec("INSERT INTO idempotency_keys VALUES ('', $1, '', $2, $3)", key, pq.Array(ids), until)
	}
	want := map[string]time.Time{}
	var batch []string
	for range 120 { // several portions
		id := insert()
		batch, want[id] = append(batch, id), live
	}
	old, none, odd, last := insert(), insert(), insert(), insert()
	want[old], want[none], want[odd], want[last] = time.Time{}, time.Time{}, time.Time{}, live
	remember("batch", live.Format(time.RFC3339Nano), batch...)
	remember("expired", "yesterday", old)
	remember("one", live.Format(time.RFC3339Nano), last, uuid.NewString())
	remember("damaged", live.Format(time.RFC3339Nano), odd)
	db.calls.SQL.MustExec("ALTER TABLE idempotency_keys DROP CONSTRAINT idempotency_keys_expiry_in_range")
	remember("infinite", "infinity", none)
	db.calls.SQL.MustExec("ALTER TABLE tasks DROP CONSTRAINT tasks_timeout_readable")
	db.calls.SQL.MustExec("UPDATE tasks SET timeout = 9223372036854775807 WHERE id = $1", odd)
	db.calls.SQL.MustExec("ALTER TABLE tasks ADD CONSTRAINT tasks_timeout_readable CHECK (timeout <= 9223372036854775) NOT VALID")

	if err := Migrate(t.Context(), db, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}

	var rows []struct {
		ID      string
		Until   sql.NullTime
		Version int
	}
	if err := db.calls.SQL.Select(&rows, "SELECT id, keyed_until AS until, version FROM tasks"); err != nil || len(rows) != len(want) {
		t.Fatalf("%d tasks, %v; want %d", len(rows), err, len(want))
	}
	for _, row := range rows {
		if !row.Until.Time.Equal(want[row.ID]) || row.Version != 3 {
			t.Errorf("task %s: remembered until %v, version %d; want %s, 3", row.ID, row.Until, row.Version, want[row.ID])
		}
	}
}

// Another program may have gone on in the table that the first Millrace used.
func TestMigrate_AdoptsNoVersionOfAnotherProgram(t *testing.T) {
	db, _ := migratedByTheFirst(t)
	db.calls.SQL.MustExec("INSERT INTO goose_db_version (version_id, is_applied) VALUES (9, true), (20240101000000, true)")
	if err := Migrate(t.Context(), db, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	wantVersions(t, db, ours, allVersions(t)...)
	wantVersions(t, db, theirs, 0, 1, 9, 20240101000000)
}

func TestMigrate_WorksBesideAnotherProgramThatUsesGoose(t *testing.T) {
	db := open(t, Config{})
	migratedByGoose(t, db, fstest.MapFS{"00001_users.sql": {Data: []byte("-- +goose Up\nCREATE TABLE users (id int);")}})
	if err := Migrate(t.Context(), db, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(CheckSchema(t.Context(), db), NewTaskRepository(db).Add(t.Context(), newTask(t))); err != nil {
		t.Error(err)
	}
	wantVersions(t, db, ours, allVersions(t)...)
	wantVersions(t, db, theirs, 0, 1)
}

func TestMigrate_RefusesTablesOfAnotherProgram(t *testing.T) {
	for name, prepare := range map[string]func(db *DB){
		"by hand": func(db *DB) { db.calls.SQL.MustExec("CREATE TABLE tasks (id int); CREATE VIEW queues AS SELECT 1") },
		"by goose": func(db *DB) {
			migratedByGoose(t, db, fstest.MapFS{"00001_tasks.sql": {Data: []byte(
				"-- +goose Up\nCREATE TABLE tasks (id int); CREATE TABLE queues (id int);")}})
		},
		"ours, whose version is lost": func(db *DB) {
			if err := Migrate(t.Context(), db, slog.New(slog.DiscardHandler)); err != nil {
				t.Fatal(err)
			}
			db.calls.SQL.MustExec("DROP TABLE millrace_schema_version")
		},
	} {
		t.Run(name, func(t *testing.T) {
			db := open(t, Config{})
			prepare(db)
			for call, err := range map[string]error{
				"Migrate":     Migrate(t.Context(), db, slog.New(slog.DiscardHandler)),
				"CheckSchema": CheckSchema(t.Context(), db),
			} {
				if err == nil || errors.Is(err, domain.ErrUnavailable) || strings.Contains(err.Error(), "\n") ||
					!strings.Contains(err.Error(), "tasks") || !strings.Contains(err.Error(), "of its own") {
					t.Errorf("%s = %v, want one line that says what is in the way and what to do, and no wait", call, err)
				}
			}
			var made bool
			if err := db.calls.SQL.Get(&made, "SELECT to_regclass($1) IS NOT NULL", ours); err != nil || made {
				t.Errorf("a table of versions was left behind, %v", err)
			}
		})
	}
}

// A table of the same name in another schema is not in the way.
func TestMigrate_LooksOnlyWhereItCreates(t *testing.T) {
	db := open(t, Config{})
	db.calls.SQL.MustExec("CREATE TABLE tasks (id int); CREATE SCHEMA millrace")
	own := open(t, Config{URL: db.cfg.URL + "&search_path=millrace,public"})
	if err := Migrate(t.Context(), own, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(own.Probe(t.Context()), NewTaskRepository(own).Add(t.Context(), newTask(t))); err != nil {
		t.Error(err)
	}
}

func TestProbe_SaysWhatIsMissing(t *testing.T) {
	wantReason := func(t *testing.T, db *DB, reason string) {
		t.Helper()
		for name, err := range map[string]error{"CheckSchema": CheckSchema(t.Context(), db), "Probe": db.Probe(t.Context())} {
			public := domain.Public(err)
			if !errors.Is(err, domain.ErrUnavailable) || public.Code != domain.CodeUnavailable || !strings.Contains(public.Message, reason) {
				t.Errorf("%s = %v, want unavailable: %s", name, err, reason)
			}
		}
	}
	const runThem = "run the migrations"
	wantReason(t, open(t, Config{}), runThem)

	db := migrated(t, Config{})
	db.calls.SQL.MustExec("UPDATE millrace_schema_version SET version_id = version_id + 1000000 WHERE version_id > 0")
	if err := db.Probe(t.Context()); err != nil {
		t.Errorf("a newer schema: %v", err)
	}
	db.calls.SQL.MustExec("DELETE FROM millrace_schema_version WHERE version_id > 0")
	wantReason(t, open(t, db.cfg), runThem) // one that runs has seen the version

	for _, table := range []string{"tasks", "task_metadata", "queues", "idempotency_keys", "bulks", "attempts", "workers"} {
		db := migrated(t, Config{})
		db.calls.SQL.MustExec("DROP TABLE " + table + " CASCADE")
		wantReason(t, db, "restore the database")
	}
}
