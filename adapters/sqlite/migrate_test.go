package sqlite_test

import (
	"errors"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/millrace/millrace/adapters/internal/schema"
	"github.com/millrace/millrace/adapters/sqlite"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/migrations"
)

// The tables of versions: Millrace's, and goose's default.
const ours, theirs = "millrace_schema_version", "goose_db_version"

// opened opens a new file, without a schema.
func opened(t *testing.T) *sqlite.DB {
	t.Helper()
	db, closeDB, err := sqlite.Open(fresh(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(closeDB)
	return db
}

// migratedByGoose migrates with goose's default table of versions, as other programs
// do and as the first Millrace did.
func migratedByGoose(t *testing.T, db *sqlite.DB, files fs.FS) {
	t.Helper()
	writer, _ := sqlite.Pools(db)
	provider, err := goose.NewProvider(goose.DialectSQLite3, writer.DB, files)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := provider.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// firstMigration is the schema of the first Millrace, which used goose's own table.
func firstMigration(t *testing.T) fs.FS {
	t.Helper()
	const name = "00001_tasks_and_workers.sql"
	text, err := fs.ReadFile(migrations.SQLite, "sqlite/"+name)
	if err != nil {
		t.Fatal(err)
	}
	return fstest.MapFS{name: {Data: text}}
}

// allVersions are those that a migrated database records.
func allVersions(t *testing.T) []int64 {
	t.Helper()
	files, err := fs.Glob(migrations.SQLite, "sqlite/*.sql")
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

func wantVersions(t *testing.T, db *sqlite.DB, table string, want ...int64) {
	t.Helper()
	var got []int64
	_, reader := sqlite.Pools(db)
	if err := reader.Select(&got, "SELECT version_id FROM "+table+" ORDER BY id"); err != nil || !slices.Equal(got, want) {
		t.Errorf("%s records %v, %v; want %v", table, got, err, want)
	}
}

func TestMigrate_AdoptsWhatTheFirstMillraceHasMigrated(t *testing.T) {
	db := opened(t)
	migratedByGoose(t, db, firstMigration(t))
	for range 2 {
		if err := sqlite.Migrate(t.Context(), db, slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
	}
	wantVersions(t, db, ours, allVersions(t)...)
	wantVersions(t, db, theirs, 0, 1)
	addTask(t, storeOn(db))
	if err := db.Probe(t.Context()); err != nil {
		t.Error(err)
	}
}

// migratedTo migrates as the version did whose last migration this is.
func migratedTo(t *testing.T, db *sqlite.DB, version int64) {
	t.Helper()
	files, err := fs.Sub(migrations.SQLite, "sqlite")
	if err != nil {
		t.Fatal(err)
	}
	writer, _ := sqlite.Pools(db)
	provider, err := schema.Dialect{Name: goose.DialectSQLite3, Files: files, RelationsSQL: "SELECT name FROM sqlite_master"}.Provider(writer.DB)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := provider.UpTo(t.Context(), version); err != nil {
		t.Fatal(err)
	}
}

// No task is purged while its key is remembered: not even one of the version before.
func TestMigrate_KnowsUntilWhenTheKeysOfBeforeAreRemembered(t *testing.T) {
	db := opened(t)
	migratedTo(t, db, 7)
	writer, _ := sqlite.Pools(db)
	live, expired := time.Now().Add(time.Hour).UnixMicro(), time.Now().Add(-time.Hour).UnixMicro()
	insert := func(long bool) (id []byte) {
		made, message := domain.NewTaskID(time.Now()), "m"
		if long {
			message = strings.Repeat("m", 100_000)
		}
		writer.MustExec(`INSERT INTO tasks (id, message, queue, priority, status, created_at, updated_at, version, run_at, queued_at,
			max_attempts, attempt, failures, rescues, claim_beat, last_error, result, result_truncated)
			VALUES (?, ?, 'default', 0, 'pending', 1, 1, 3, 1, 1, 5, 0, 0, 0, 0, '', '', 0)`, made[:], message)
		return made[:]
	}
	remember := func(key string, until int64, ids ...[]byte) {
		writer.MustExec("INSERT INTO idempotency_keys VALUES ('', ?, zeroblob(32), ?, ?)", key, append([]byte{}, slices.Concat(ids...)...), until)
	}
	a, b, c, old, none, odd := insert(false), insert(true), insert(false), insert(false), insert(false), insert(false)
	remember("batch", live, a, b)
	remember("one", live, c)
	remember("expired", expired, old)
	remember("damaged", live, odd, make([]byte, 16))
	remember("empty", live)
	writer.MustExec("DROP TRIGGER tasks_readable_update")
	writer.MustExec("UPDATE tasks SET updated_at = 9223372036854775807 WHERE id = ?", odd)
	writer.MustExec("CREATE TRIGGER tasks_readable_update BEFORE UPDATE ON tasks WHEN NEW.updated_at > 253402214400000000 BEGIN SELECT RAISE(ABORT, 'no'); END")

	if err := sqlite.Migrate(t.Context(), db, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}

	for _, c := range []struct {
		name string
		id   []byte
		want int64 // 0: NULL
	}{
		{"of a batch", a, live}, {"of a batch, long", b, live}, {"alone", c, live}, {"expired", old, 0}, {"without a key", none, 0},
		{"out of range", odd, 0},
	} {
		var got struct{ Until, Version int64 }
		must(t, writer.Get(&got, "SELECT coalesce(keyed_until, 0) AS until, version FROM tasks WHERE id = ?", c.id))
		if got.Until != c.want || got.Version != 3 {
			t.Errorf("%s: remembered until %d, version %d; want %d, 3", c.name, got.Until, got.Version, c.want)
		}
	}
}

func TestMigrate_WorksBesideAnotherProgramThatUsesGoose(t *testing.T) {
	db := opened(t)
	migratedByGoose(t, db, fstest.MapFS{"00001_users.sql": {Data: []byte("-- +goose Up\nCREATE TABLE users (id int);")}})
	if err := sqlite.Migrate(t.Context(), db, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	addTask(t, storeOn(db))
	wantVersions(t, db, ours, allVersions(t)...)
	wantVersions(t, db, theirs, 0, 1)
}

func TestMigrate_RefusesTablesOfAnotherProgram(t *testing.T) {
	db := opened(t)
	writer, reader := sqlite.Pools(db)
	writer.MustExec("CREATE TABLE tasks (id int)")
	err := sqlite.Migrate(t.Context(), db, slog.New(slog.DiscardHandler))
	if err == nil || errors.Is(err, domain.ErrUnavailable) || strings.Contains(err.Error(), "\n") ||
		!strings.Contains(err.Error(), "tasks") || !strings.Contains(err.Error(), "of its own") {
		t.Errorf("migrate: %v, want one line that says what is in the way and what to do", err)
	}
	var n int
	if err := reader.Get(&n, "SELECT count(*) FROM sqlite_master"); err != nil || n != 1 {
		t.Errorf("%d things are in the file, %v; want the table that was there", n, err)
	}
}

func TestProbe_SaysWhatIsMissing(t *testing.T) {
	wantReason := func(t *testing.T, db *sqlite.DB, reason string) {
		t.Helper()
		err := db.Probe(t.Context())
		if public := domain.Public(err); !errors.Is(err, domain.ErrUnavailable) || !strings.Contains(public.Message, reason) {
			t.Errorf("probe: %v, want unavailable: %s", err, reason)
		}
	}
	const restart = "restart the program"
	wantReason(t, opened(t), restart)

	db, _ := open(t, fresh(t))
	writer, _ := sqlite.Pools(db)
	writer.MustExec("UPDATE millrace_schema_version SET version_id = version_id + 1000000 WHERE version_id > 0")
	if err := db.Probe(t.Context()); err != nil {
		t.Errorf("a newer schema: %v", err)
	}
	writer.MustExec("DELETE FROM millrace_schema_version WHERE version_id > 0")
	wantReason(t, db, restart)

	for _, table := range []string{"tasks", "task_metadata", "queues", "idempotency_keys", "bulks", "attempts", "workers"} {
		db, _ := open(t, fresh(t))
		writer, _ := sqlite.Pools(db)
		writer.MustExec("DROP TABLE " + table)
		wantReason(t, db, "restore the file")
	}
}
