package e2e

import (
	"database/sql"
	"testing"
	"time"

	"github.com/millrace/millrace/test/programs"
	"github.com/millrace/millrace/test/services"
)

// counted is what there is of the tasks, and what the worker with the most heartbeats has sent.
type counted struct {
	Pending, Processing, Completed, Failures, Beats int
}

func countTasks(t *testing.T, db *sql.DB) (c counted) {
	t.Helper()
	if err := db.QueryRowContext(t.Context(), `SELECT count(*) FILTER (WHERE status = 'pending'), count(*) FILTER (WHERE status = 'processing'),
			count(*) FILTER (WHERE status = 'completed'), coalesce(sum(failures), 0), (SELECT coalesce(max(beat), 0) FROM workers) FROM tasks`,
	).Scan(&c.Pending, &c.Processing, &c.Completed, &c.Failures, &c.Beats); err != nil {
		t.Fatal(err)
	}
	return c
}

// A worker of a hundred thousand slots takes what there is in portions, keeps it over
// several heartbeats, gives all of it back when it is told to stop, and ends; another one
// does it.
func TestCapacity_AWorkerOfTheMostSlotsMakesProgressAndStops(t *testing.T) {
	t.Parallel()
	const tasks = 5_000
	database, queue := migratedDatabase(t), services.StartRedis(t).URL()+"?prefix=millrace:"
	db, err := sql.Open("postgres", database)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	insertWaiting(t, db, "'default'", tasks)
	if _, err := db.ExecContext(t.Context(), "UPDATE tasks SET message = repeat(id::text, 50)"); err != nil { // 1,800 bytes
		t.Fatal(err)
	}
	d := &deployment{t: t, env: []string{
		"DATABASE_URL=" + database, "QUEUE_URL=" + queue, "WORKER_QUEUE_MAXSIZE=100000", "LEASE_TIMEOUT=10s", "SHUTDOWN_TIMEOUT=1s",
	}}
	pushAll(t, db, newServerHarness(t, database, queue, time.Now).queue)

	sleeping := d.worker("HANDLER=sleep:1h")
	programs.Eventually(t, programs.Patience, "the worker has all tasks", func() bool { return countTasks(t, db).Processing == tasks })
	begun := countTasks(t, db).Beats
	programs.Eventually(t, programs.Patience, "it sends heartbeats", func() bool { return countTasks(t, db).Beats >= begun+3 })
	if got := countTasks(t, db); got.Processing != tasks {
		t.Errorf("%+v: want all still processing", got)
	}
	sleeping.Stop()
	// Nobody else is there who could take them from it.
	programs.Eventually(t, programs.Patience, "it has given all of them back", func() bool { return countTasks(t, db).Pending == tasks })

	working := d.worker()
	programs.Eventually(t, programs.Patience, "another worker has done all tasks", func() bool { return countTasks(t, db).Completed == tasks })
	working.Stop()
	if got := countTasks(t, db); got.Failures != 0 || got.Completed != tasks {
		t.Errorf("%+v: want all completed, and none charged", got)
	}
}
