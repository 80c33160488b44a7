package sqlite_test

import (
	"context"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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
	task, err := domain.NewTask(domain.TaskSpec{Message: strings.Repeat("x", 256<<10), MaxAttempts: 1}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Tasks.Add(t.Context(), task); !errors.Is(err, domain.ErrUnavailable) {
		t.Errorf("add on a full disk: %v, want ErrUnavailable", err)
	}
	if _, err := store.Tasks.Get(t.Context(), task.ID()); !errors.Is(err, domain.ErrTaskNotFound) {
		t.Errorf("get of what was not stored: %v", err)
	}
	if err := writer.Get(&limit, "PRAGMA max_page_count = 1000000"); err != nil {
		t.Fatal(err)
	}
	if err := store.Tasks.Add(t.Context(), task); err != nil {
		t.Errorf("add once there is room again: %v", err)
	}
}

func TestWrite_ThatHasBegunIsBroughtToItsEnd(t *testing.T) {
	db, _ := open(t, fresh(t))
	store := storeOn(db)
	task := addTask(t, store)
	ctx, hangUp := context.WithCancel(t.Context())
	at := time.Now().Add(time.Hour)
	swept, err := store.Dispatch.Stranded(ctx, at, application.SweepBatch{Limit: 1, Decide: func(task *domain.Task) error {
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
	if diff := cmp.Diff(swept.Changed[0].State(), got.State()); diff != "" {
		t.Errorf("(-returned +stored):\n%s", diff)
	}
}

func TestDamagedRow_StopsNothingElse(t *testing.T) {
	db, _ := open(t, fresh(t))
	store := storeOn(db)
	bad, good := addTask(t, store), addTask(t, store)
	writer, _ := sqlite.Pools(db)
	badID := bad.ID()
	for _, query := range []string{"PRAGMA ignore_check_constraints = 1", "UPDATE tasks SET attempt = -1 WHERE id = x'" + hex.EncodeToString(badID[:]) + "'",
		"PRAGMA ignore_check_constraints = 0"} {
		writer.MustExec(query)
	}
	if _, err := store.Tasks.Get(t.Context(), badID); domain.Public(err).Code != domain.CodeInternal {
		t.Errorf("get of a damaged task: %v, want an internal error", err)
	}
	if got, err := store.Tasks.GetMany(t.Context(), badID, good.ID()); err != nil || len(got) != 1 || got[0].ID() != good.ID() {
		t.Errorf("get many, a damaged one among them: %d tasks, %v", len(got), err)
	}
	at := time.Now().Add(time.Second)
	swept, err := store.Dispatch.Stranded(t.Context(), at, application.SweepBatch{
		Limit: 10, Decide: func(task *domain.Task) error { return task.MarkQueued(at) },
	})
	if err != nil || swept.Found != 2 || swept.Passed[badID] == nil || len(swept.Changed) != 1 || swept.Changed[0].ID() != good.ID() {
		t.Errorf("sweep past a damaged task: %+v, %v", swept, err)
	}
	worker := beatOnce(t, store, time.Minute)
	claimed, err := store.Tasks.Claim(t.Context(), application.ClaimRequest{
		Claim: domain.Claim{Worker: worker, Timeout: time.Hour}, IDs: []domain.TaskID{badID, good.ID()}, Now: time.Now(),
	})
	if err != nil || len(claimed) != 1 || claimed[0].ID() != good.ID() {
		t.Errorf("claim past a damaged task: %d tasks, %v", len(claimed), err)
	}
}

func TestSchema_RefusesWhatTheDomainDoes(t *testing.T) {
	db, _ := open(t, fresh(t))
	id := addTask(t, storeOn(db)).ID()
	writer, _ := sqlite.Pools(db)
	for _, change := range []string{
		"id = x'00'", "id = 'text'", "status = 'unknown'", "message = ''", "message = 'a' || char(0)", "message = x'61'", "version = 0",
		"max_attempts = 0", "attempt = -1", "failures = -1", "rescues = -1", "failures = 1", "attempt = 1, failures = 1, rescues = 1",
		"updated_at = created_at - 1", "updated_at = 'yesterday'", "status = 'completed'", "worker = 'w'", "deadline = 1",
		"status = 'processing', queued_at = NULL, attempt = 1, started_at = 1, worker = 'w'",
		"status = 'processing', queued_at = NULL, attempt = 1, started_at = 1, deadline = 1",
		"status = 'processing', queued_at = NULL, attempt = 1, started_at = 1, deadline = 1, worker = ''",
		"status = 'processing', queued_at = NULL, deadline = 1, worker = 'w'",
		"status = 'processing', queued_at = NULL, attempt = 1, deadline = 1, worker = 'w'", "started_at = 1", "attempt = 1",
		"status = 'completed', queued_at = NULL, attempt = 1, started_at = 1",
		"status = 'completed', queued_at = NULL, attempt = 1, started_at = 1, worker = ''",
		"status = 'completed', queued_at = NULL, attempt = 1, started_at = 1, worker = 'w', deadline = 1",
		"status = 'completed', queued_at = NULL, worker = 'w'",
		"status = 'completed', queued_at = NULL, attempt = 1, started_at = 1, worker = 'w', result_truncated = 2",
		"result = 'done'", "result_truncated = 1", "stop_requested_at = 1",
	} {
		if _, err := writer.Exec("UPDATE tasks SET " + change + " WHERE id = x'" + hex.EncodeToString(id[:]) + "'"); err == nil {
			t.Errorf("the schema takes %s", change)
		}
	}
	for _, change := range []string{
		"status = 'processing', queued_at = NULL, attempt = 1, started_at = 1, deadline = 1, worker = 'w'",
		"status = 'completed', deadline = NULL, result = 'done', result_truncated = 1",
	} {
		if _, err := writer.Exec("UPDATE tasks SET " + change); err != nil {
			t.Errorf("the schema refuses %s: %v", change, err)
		}
	}
}

func TestSchema_RefusesARecordThatNoAttemptHas(t *testing.T) {
	db, _ := open(t, fresh(t))
	id := addTask(t, storeOn(db)).ID()
	writer, _ := sqlite.Pools(db)
	task := "x'" + hex.EncodeToString(id[:]) + "'"
	if _, err := writer.Exec("INSERT INTO attempts VALUES (" + task + ", 1, 'w', 1, 1, 'failed', '')"); err != nil {
		t.Fatal(err)
	}
	for _, record := range []string{
		task + ", 1, 'w', 1, 1, 'failed', ''", task + ", 0, 'w', 1, 1, 'failed', ''", task + ", 2, '', 1, 1, 'failed', ''",
		task + ", 2, 'w', 2, 1, 'failed', ''", task + ", 2, 'w', 1, 1, 'completed', ''",
		"x'00000000000000000000000000000000', 1, 'w', 1, 1, 'failed', ''",
	} {
		if _, err := writer.Exec("INSERT INTO attempts VALUES (" + record + ")"); err == nil {
			t.Errorf("the schema takes the record %s", record)
		}
	}
	writer.MustExec("DELETE FROM tasks")
	var left int
	if err := writer.Get(&left, "SELECT count(*) FROM attempts"); err != nil || left != 0 {
		t.Errorf("%d records of a task that is gone, %v", left, err)
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
		"beat_interval": int64(4_000_000), "capacity": int64(9), "running": int64(2),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("row (-want +got):\n%s", diff)
	}
}
