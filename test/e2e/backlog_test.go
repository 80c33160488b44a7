package e2e

import (
	"context"
	"database/sql"
	"testing"
	"time"

	redigo "github.com/gomodule/redigo/redis"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/services"
)

// TestDispatcher_PushesNothingTwiceOfADeepBacklog lets three dispatchers sweep
// over tasks that have been waiting for up to an hour, and are all on the queue.
func TestDispatcher_PushesNothingTwiceOfADeepBacklog(t *testing.T) {
	t.Parallel()
	const waiting, sweeps = 100_000, 3
	database, server := migratedDatabase(t), services.StartRedis(t)
	queue := server.URL() + "?prefix=millrace:"
	db, err := sql.Open("postgres", database)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	insertWaiting(t, db, "'default'", waiting)
	client := newServerHarness(t, database, queue, time.Now)
	pushAll(t, db, client.queue)

	for range 3 {
		newServerHarness(t, database, queue, time.Now).sweep(t)
	}
	time.Sleep(sweeps*3*time.Second + time.Second)

	entries, err := redigo.Strings(dialRedis(t, server).Do("LRANGE", "millrace:queue:default:0", 0, -1))
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool, len(entries))
	for _, e := range entries {
		seen[e[:36]] = true
	}
	if len(entries) != waiting || len(seen) != waiting {
		t.Errorf("%d entries for %d tasks, %d were pushed", len(entries), len(seen), waiting)
	}
}

// insertWaiting stores n tasks that have been waiting for up to an hour, each in the queue
// that the expression makes of its number n.
func insertWaiting(t *testing.T, db *sql.DB, queue string, n int) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), `INSERT INTO tasks (id, message, queue, priority, status, created_at, updated_at, version, run_at, queued_at,
			max_attempts, attempt, failures, rescues, claim_beat, last_error, result, result_truncated)
		SELECT gen_random_uuid(), 'waits', `+queue+`, 0, 'pending', at, at, 1, at, at, 3, 0, 0, 0, 0, '', '', false
		FROM (SELECT n, now() - interval '1 hour' + n * interval '30 milliseconds' AS at FROM generate_series(1, $1) AS n) AS made`, n); err != nil {
		t.Fatal(err)
	}
}

// pushAll pushes an entry for each task that is marked, the oldest first.
func pushAll(t *testing.T, db *sql.DB, queue application.Queue) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), "SELECT id, queued_at, queue FROM tasks ORDER BY queued_at")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var entries []application.Entry
	for rows.Next() {
		var id string
		var e application.Entry
		if err := rows.Scan(&id, &e.QueuedAt, &e.Queue); err != nil {
			t.Fatal(err)
		}
		if e.ID, err = domain.ParseTaskID(id); err != nil {
			t.Fatal(err)
		}
		entries = append(entries, e)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	if err := queue.Push(t.Context(), entries...); err != nil {
		t.Fatal(err)
	}
}

// TestDispatcher_PushesATaskAgainAtABoundedRate loses the task's entry again and
// again, as soon as it is there, while several dispatchers sweep.
func TestDispatcher_PushesATaskAgainAtABoundedRate(t *testing.T) {
	t.Parallel()
	const watched, apart = 30 * time.Second, 7 * time.Second // the grace, and nearly the time between two sweeps
	p := newEmbeddedHarness(t)
	task := p.submit(t, "lost again and again")
	for range 3 {
		p.sweep(t)
	}
	ctx, cancel := context.WithTimeout(t.Context(), watched)
	defer cancel()
	var pushed []time.Time
	for ctx.Err() == nil {
		entries, err := p.queue.Pull(ctx, application.PullRequest{Queues: []domain.QueueName{domain.DefaultQueue}, Max: 10, Wait: time.Second})
		if err != nil && ctx.Err() == nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.ID != task.ID() {
				t.Errorf("an entry of task %s, which is unknown", e.ID)
			}
			pushed = append(pushed, e.QueuedAt)
		}
	}
	if len(pushed) < 2 {
		t.Errorf("pushed %d times within %v: a lost entry is not pushed again", len(pushed), watched)
	}
	for i := 1; i < len(pushed); i++ {
		if d := pushed[i].Sub(pushed[i-1]); d < apart {
			t.Errorf("pushed again %v after it was pushed", d)
		}
	}
}
