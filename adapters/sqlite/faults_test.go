package sqlite_test

import (
	"context"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/adapters/internal/room"
	"github.com/millrace/millrace/adapters/sqlite"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

func TestWrite_IsUnavailableWhileTheFileIsLocked(t *testing.T) {
	path := fresh(t)
	db, _ := open(t, path)
	store := storeOn(db)
	task := addTask(t, store)
	writer, reader := sqlite.Pools(db)
	writer.MustExec("PRAGMA busy_timeout = 20")
	stranger, err := reader.Connx(t.Context()) // stands for a tool that somebody has opened the file with
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	for _, query := range []string{"PRAGMA query_only = 0", "BEGIN IMMEDIATE"} {
		if _, err := stranger.ExecContext(t.Context(), query); err != nil {
			t.Fatal(err)
		}
	}

	if err := task.Cancel(time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := store.Tasks.Save(t.Context(), task); !errors.Is(err, domain.ErrUnavailable) {
		t.Errorf("save in a locked file: %v, want ErrUnavailable", err)
	}
	if _, err := store.Tasks.Get(t.Context(), task.ID()); err != nil {
		t.Errorf("get in a locked file: %v", err)
	}
	if _, err := stranger.ExecContext(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if err := store.Tasks.Save(t.Context(), task); err != nil {
		t.Errorf("save once the file is free again: %v", err)
	}
}

func TestAdd_IsUnavailableWhileTheDiskIsFull(t *testing.T) {
	db, _ := open(t, fresh(t))
	store := storeOn(db)
	writer, _ := sqlite.Pools(db)
	var pages int
	if err := writer.Get(&pages, "PRAGMA page_count"); err != nil {
		t.Fatal(err)
	}
	var limit int
	if err := writer.Get(&limit, "PRAGMA max_page_count = "+strconv.Itoa(pages)); err != nil || limit != pages {
		t.Fatalf("limit %d, %v", limit, err)
	}
	task, err := domain.NewTask(domain.TaskSpec{Message: strings.Repeat("x", 256<<10), MaxAttempts: new(1)}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Tasks.Add(t.Context(), task); !errors.Is(err, domain.ErrUnavailable) {
		t.Errorf("add on a full disk: %v, want ErrUnavailable", err)
	}
	if _, err := store.Tasks.Get(t.Context(), task.ID()); !errors.Is(err, domain.ErrTaskNotFound) {
		t.Errorf("get of what was not stored: %v", err)
	}
	beatOnce(t, store, time.Second) // needs no room, and proves none
	for range 2 {
		if err := db.Probe(t.Context()); !errors.Is(err, domain.ErrUnavailable) || domain.Public(err) != room.ErrDiskFull {
			t.Errorf("probe on a full disk: %v, want that it is full", err)
		}
	}
	if err := writer.Get(&limit, "PRAGMA max_page_count = 1000000"); err != nil {
		t.Fatal(err)
	}
	if err := db.Probe(t.Context()); err != nil {
		t.Errorf("probe once there is room again: %v", err)
	}
	if err := store.Tasks.Add(t.Context(), task); err != nil {
		t.Errorf("add once there is room again: %v", err)
	}
	if found, err := store.Search.List(t.Context(), application.TaskQuery{Limit: 10, Window: 10}); err != nil || len(found.Tasks) != 1 {
		t.Errorf("%d tasks are stored, and one was added: %v", len(found.Tasks), err)
	}
}

// Nobody stores anything, so nothing but the disk itself tells.
func TestProbe_FailsWhileTheDiskIsFull(t *testing.T) {
	db, _ := open(t, fresh(t))
	sqlite.TryRoomWith(db, func() (*os.File, error) { return os.OpenFile("/dev/full", os.O_WRONLY, 0) })
	for range 2 {
		if err := db.Probe(t.Context()); !errors.Is(err, domain.ErrUnavailable) || domain.Public(err) != room.ErrDiskFull {
			t.Errorf("%v, want that the disk is full", err)
		}
	}
}

// Whoever may write to the folder must not have the program overwrite what it may write.
func TestProbe_WritesThroughNoLink(t *testing.T) {
	for name, c := range map[string]struct {
		link    func(oldname, newname string) error
		refuses bool
	}{"Symbolic": {os.Symlink, true}, "Hard": {os.Link, false}} {
		t.Run(name, func(t *testing.T) {
			path := fresh(t)
			db, _ := open(t, path)
			other := path + ".other"
			must(t, os.WriteFile(other, []byte("precious"), 0o600))
			must(t, c.link(other, path+"-room"))
			err := db.Probe(t.Context())
			if c.refuses != (err != nil) || c.refuses && !strings.Contains(domain.Public(err).Message, "-room") {
				t.Errorf("the probe says %v", err)
			}
			if got, err := os.ReadFile(other); err != nil || string(got) != "precious" {
				t.Errorf("the probe has written to another file: %d bytes, %v", len(got), err)
			}
		})
	}
}

func TestProbe_ReplacesWhatACrashHasLeft(t *testing.T) {
	path := fresh(t)
	db, _ := open(t, path)
	must(t, os.WriteFile(path+"-room", []byte("left"), 0o600))
	must(t, db.Probe(t.Context()))
}

func TestProbe_FailsWhileTheFolderTakesNoFile(t *testing.T) {
	path := fresh(t)
	db, _ := open(t, path)
	must(t, os.Mkdir(path+"-room", 0o700))
	if err := db.Probe(t.Context()); !errors.Is(err, domain.ErrUnavailable) {
		t.Errorf("%v, want ErrUnavailable", err)
	}
	must(t, os.Remove(path+"-room"))
	must(t, db.Probe(t.Context()))
	if _, err := os.Stat(path + "-room"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the probe has left its file: %v", err)
	}
}

// A disk that hangs holds no probe beyond its time: here the file is a pipe that nobody reads.
func TestProbe_EndsWithItsContextWhileTheDiskHangs(t *testing.T) {
	path := fresh(t)
	db, _ := open(t, path)
	must(t, syscall.Mkfifo(path+"-room", 0o600))
	sqlite.TryRoomWith(db, func() (*os.File, error) { return os.OpenFile(path+"-room", os.O_WRONLY, 0) })
	for range 2 { // the second finds the proof of the first still under way
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := db.Probe(ctx); !errors.Is(err, domain.ErrUnavailable) {
			t.Errorf("%v, want ErrUnavailable", err)
		}
	}
	pipe, err := os.Open(path + "-room") // frees the first
	must(t, err)
	must(t, pipe.Close())
}

// What is not about the data is an outage, whatever SQLite calls it.
func TestWrite_IsUnavailableWhateverIsWrongWithTheFile(t *testing.T) {
	for name, c := range map[string]struct{ breaks, mends string }{
		"ReadOnly":    {"PRAGMA query_only = 1", "PRAGMA query_only = 0"}, // SQLITE_READONLY
		"NoSuchTable": {"ALTER TABLE tasks RENAME TO gone", "ALTER TABLE gone RENAME TO tasks"},
	} {
		t.Run(name, func(t *testing.T) {
			db, _ := open(t, fresh(t))
			store := storeOn(db)
			task := newTask(t, "m")
			writer, _ := sqlite.Pools(db)
			writer.MustExec(c.breaks)
			if err := store.Tasks.Add(t.Context(), task); !errors.Is(err, domain.ErrUnavailable) || errors.Is(err, domain.ErrRefused) {
				t.Errorf("add: %v, want ErrUnavailable", err)
			}
			if err := db.Probe(t.Context()); !errors.Is(err, domain.ErrUnavailable) {
				t.Errorf("probe: %v, want ErrUnavailable", err)
			}
			writer.MustExec(c.mends)
			must(t, db.Probe(t.Context()))
			must(t, store.Tasks.Add(t.Context(), task))
		})
	}
}

func TestWrite_ThatHasBegunIsBroughtToItsEnd(t *testing.T) {
	db, _ := open(t, fresh(t))
	store := storeOn(db)
	task := addTask(t, store)
	ctx, hangUp := context.WithCancel(t.Context())
	at := time.Now().Add(time.Hour)
	swept, err := store.Dispatch.Stranded(ctx, map[application.Lane]time.Time{defaultList: at}, application.SweepBatch{Limit: 1, Decide: func(task *domain.Task) error {
		hangUp()
		return task.MarkQueued(at)
	}})
	if err != nil || len(swept.Changed) != 1 {
		t.Fatalf("a sweep whose caller hung up: %d changed, %v", len(swept.Changed), err)
	}
	got, err := store.Tasks.Get(t.Context(), task.ID())
	if err != nil {
		t.Fatal(err)
	}
	want := got.State()
	want.Message = "" // a sweep does not read it
	if diff := cmp.Diff(swept.Changed[0].State(), want); diff != "" {
		t.Errorf("(-returned +stored):\n%s", diff)
	}
}

func TestDamagedRow_StopsNothingElse(t *testing.T) {
	for _, damage := range []string{"attempt = -1", "metadata = '{\"a\": 1}'", "metadata = '{'"} {
		t.Run(damage, func(t *testing.T) { damagedRow(t, damage) })
	}
}

// damagedRow stores two tasks, damages one and checks what becomes of the other.
func damagedRow(t *testing.T, damage string) {
	db, _ := open(t, fresh(t))
	store := storeOn(db)
	bad, good := addTask(t, store), addTask(t, store)
	writer, _ := sqlite.Pools(db)
	badID := bad.ID()
	for _, query := range []string{"PRAGMA ignore_check_constraints = 1", "DROP TRIGGER tasks_paired_update", "UPDATE tasks SET " + damage + " WHERE id = x'" + hex.EncodeToString(badID[:]) + "'",
		"PRAGMA ignore_check_constraints = 0"} {
		writer.MustExec(query)
	}
	if _, err := store.Tasks.Get(t.Context(), badID); domain.Public(err).Code != domain.CodeDamaged {
		t.Errorf("get of a damaged task: %v, want it damaged", err)
	}
	if got, _, err := store.Tasks.GetMany(t.Context(), badID, good.ID()); err != nil || len(got) != 1 || got[0].ID() != good.ID() {
		t.Errorf("get many, a damaged one among them: %d tasks, %v", len(got), err)
	}
	at := time.Now().Add(time.Second)
	swept, err := store.Dispatch.Stranded(t.Context(), map[application.Lane]time.Time{defaultList: at}, application.SweepBatch{
		Limit: 10, Decide: func(task *domain.Task) error { return task.MarkQueued(at) },
	})
	if err != nil || swept.Found != 2 || swept.Passed[badID] == nil || len(swept.Changed) != 1 || swept.Changed[0].ID() != good.ID() {
		t.Errorf("sweep past a damaged task: %+v, %v", swept, err)
	}
	worker := beatOnce(t, store, time.Minute)
	claimed, err := store.Tasks.Claim(t.Context(), application.ClaimRequest{
		Claim: domain.Claim{Worker: worker, Timeout: time.Hour}, IDs: []domain.TaskID{badID, good.ID()}, Now: time.Now(),
	})
	if err != nil || len(claimed.Tasks) != 1 || claimed.Tasks[0].ID() != good.ID() {
		t.Errorf("claim past a damaged task: %d tasks, %v", len(claimed.Tasks), err)
	}
	start := domain.NewTaskID(time.Now())
	action := domain.Bulk{ID: domain.BulkID(start), Action: domain.BulkStop, Cursor: start, CreatedAt: at, UpdatedAt: at}
	if err := store.Bulks.Add(t.Context(), action); err != nil {
		t.Fatal(err)
	}
	stepped, err := store.Bulks.Step(t.Context(), application.BulkStep{
		Limit: 10, Window: 10, Now: at, Decide: func(_ domain.Bulk, task *domain.Task) error { return task.RequestStop(at) },
	})
	action, changed := stepped.Bulk, stepped.Changed
	if err != nil || len(changed) != 1 || changed[0].ID() != good.ID() || action.Changed != 1 || action.Skipped != 1 || action.DoneAt.IsZero() {
		t.Errorf("bulk action past a damaged task: %+v, %d tasks changed, %v", action, len(changed), err)
	}
}

func TestBeat_DescribesTheWorker(t *testing.T) {
	db, _ := open(t, fresh(t))
	start := time.Now()
	id := beatOnce(t, storeOn(db), 3*time.Second)
	renew(t, storeOn(db), id, 2, 4*time.Second)
	_, reader := sqlite.Pools(db)
	got := map[string]any{}
	if err := reader.QueryRowx("SELECT * FROM workers").MapScan(got); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"seen_at", "beating_since"} {
		if at, _ := got[name].(int64); at < start.UnixMicro() || at > time.Now().UnixMicro() {
			t.Errorf("%s = %v, which is not now", name, got[name])
		}
		delete(got, name)
	}
	want := map[string]any{
		"id": string(id), "host": "box", "pid": int64(7), "version": "v1", "started_at": int64(1_000_000), "beat": int64(2),
		"beat_interval": int64(4_000_000), "queues": `["b","a"]`, "capacity": int64(9), "running": int64(2),
		"abandoned": int64(0), "stuck": int64(0),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("row (-want +got):\n%s", diff)
	}
}

// A row that somebody has changed must not pass for a new key: its caller would be told
// that tasks are stored which are not.
func TestAddOnce_RefusesAKeyThatNamesOtherThanItsTasks(t *testing.T) {
	db, _ := open(t, fresh(t))
	store, now := storeOn(db), time.Now()
	writer, _ := sqlite.Pools(db)
	k := application.IdempotencyKey{Key: "k", Now: now, Expires: now.Add(time.Hour)}
	if _, _, err := store.Tasks.AddOnce(t.Context(), k, newTask(t, "a"), newTask(t, "b")); err != nil {
		t.Fatal(err)
	}
	for _, cut := range []string{"substr(task_ids, 17)", "x''"} {
		writer.MustExecContext(t.Context(), "UPDATE idempotency_keys SET task_ids = "+cut)
		if first, _, err := store.Tasks.AddOnce(t.Context(), k, newTask(t, "a"), newTask(t, "b")); err == nil {
			t.Errorf("task_ids = %s: AddOnce = %v, want an error", cut, first)
		}
	}
}
