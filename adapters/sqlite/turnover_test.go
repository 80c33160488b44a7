package sqlite_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/adapters/sqlite"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// turnover stores n tasks, with all that a task can have, ends them and purges them.
func turnover(t *testing.T, db *sqlite.DB, n int) {
	t.Helper()
	store, tasks := storeOn(db), make([]*domain.Task, n)
	for i := range tasks {
		var err error
		tasks[i], err = domain.NewTask(domain.TaskSpec{
			Message: strings.Repeat("Hello World ", 20+i%400), MaxAttempts: new(1), Retention: new(time.Hour),
			Metadata: map[string]string{"customer": customerOf(i), "region": "eu"},
		}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Tasks.Add(t.Context(), tasks...); err != nil {
		t.Fatal(err)
	}
	step := application.PurgeStep{Walk: application.PurgeAll}
	for _, task := range tasks {
		claim := domain.Claim{Worker: "w", Timeout: time.Minute}
		if err := task.Claim(claim, time.Now()); err != nil {
			t.Fatal(err)
		}
		if err := task.Fail(1, domain.Failure{Reason: strings.Repeat("no ", 30), Permanent: true}, domain.RetryPolicy{}, 0, time.Now()); err != nil {
			t.Fatal(err)
		}
		if err := store.Tasks.Save(t.Context(), task); err != nil {
			t.Fatal(err)
		}
		step.Expired = append(step.Expired, task.PurgeCandidate())
	}
	done, err := store.Purges.Purge(t.Context(), step)
	if err != nil || len(done.Purged) != n {
		t.Fatalf("purged %d of %d, %v", len(done.Purged), n, err)
	}
}

func customerOf(i int) string { return strings.Repeat("c", 1+i%50) }

// What is purged makes room for what comes: the file stays as large as it has to be for
// what is kept at a time, and the write-ahead log within its limit.
func TestPurge_TheFileDoesNotGrowOverTenTurnovers(t *testing.T) {
	path := fresh(t)
	db, _ := open(t, path)
	sizes := make([]int64, 10)
	for i := range sizes {
		turnover(t, db, 300)
		writer, _ := sqlite.Pools(db)
		if _, err := writer.Exec("PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
			t.Fatal(err)
		}
		file, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		sizes[i] = file.Size()
	}
	if first, last := sizes[0], sizes[len(sizes)-1]; last > first+first/10 {
		t.Errorf("the file has grown: %v bytes after each turnover", sizes)
	}
	for table := range map[string]bool{"tasks": true, "attempts": true, "task_metadata": true} {
		if n := storeOn(db).Count(t, table); n != 0 {
			t.Errorf("%d rows of %s are left", n, table)
		}
	}
}

func TestOpen_TheLogOfABurstIsGivenBack(t *testing.T) {
	path := fresh(t)
	db, _ := open(t, path)
	writer, reader := sqlite.Pools(db)
	long, err := reader.Beginx() // keeps the log from being used again
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if err := long.Get(&n, "SELECT count(*) FROM tasks"); err != nil {
		t.Fatal(err)
	}
	writer.MustExec("CREATE TABLE filler (x BLOB)")
	for range 30 {
		writer.MustExec("INSERT INTO filler VALUES (zeroblob(1000000))")
	}
	before, err := os.Stat(path + "-wal")
	if err != nil || before.Size() < 20<<20 {
		t.Fatalf("the log has %v, %v; the test is to make it long", before, err)
	}
	if err := long.Rollback(); err != nil {
		t.Fatal(err)
	}
	for range 3 { // a checkpoint, and writes that begin the log anew
		writer.MustExec("PRAGMA wal_checkpoint(RESTART)")
		writer.MustExec("INSERT INTO filler VALUES (x'00')")
	}
	after, err := os.Stat(path + "-wal")
	if err != nil || after.Size() > 17<<20 {
		t.Errorf("the log has %d bytes, %v; it had %d", after.Size(), err, before.Size())
	}
}
