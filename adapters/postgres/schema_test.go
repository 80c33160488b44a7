package postgres

import (
	"strings"
	"testing"
)

// The schema refuses what domain.Restore refuses.
func TestSchema_RepeatsTheInvariants(t *testing.T) {
	db := migrated(t, Config{})
	task := newTask(t)
	if err := NewTaskRepository(db).Add(t.Context(), task); err != nil {
		t.Fatal(err)
	}
	for constraint, change := range map[string]string{
		"tasks_status_known":                         "status = 'paused', queued_at = NULL",
		"tasks_message_not_empty":                    "message = ''",
		"tasks_queue_named":                          "queue = '-a'",
		"tasks_priority_in_range":                    "priority = 10",
		"tasks_timeout_in_range":                     "timeout = 0",
		"tasks_counters_in_range":                    "max_attempts = 0",
		"tasks_failures_and_rescues_within_attempts": "failures = 1",
		"tasks_updated_after_created":                "updated_at = created_at - interval '1 microsecond'",
		"tasks_worker_and_deadline_fit_status":       "worker = 'w'",
		"tasks_started_once_attempted":               "attempt = 1",
		"tasks_result_once_completed":                "result = 'done'",
		"tasks_only_completed_altered":               "result_altered = true",
		"tasks_queued_while_pending":                 "status = 'canceled'",
	} {
		_, err := db.calls.SQL.Exec("UPDATE tasks SET "+change+" WHERE id = $1", task.ID().String())
		if err == nil || !strings.Contains(err.Error(), constraint) {
			t.Errorf("%s: %v, want %s", change, err, constraint)
		}
	}
	for _, name := range []string{"", "A", "_a", "a b", "ä", strings.Repeat("a", 65), "a\n", "a\nb"} {
		_, err := db.calls.SQL.Exec("UPDATE tasks SET queue = $1 WHERE id = $2", name, task.ID().String())
		if err == nil || !strings.Contains(err.Error(), "tasks_queue_named") {
			t.Errorf("%q: %v, want tasks_queue_named", name, err)
		}
	}
	for _, name := range []string{"a", "0._-", strings.Repeat("a", 64)} {
		if _, err := db.calls.SQL.Exec("UPDATE tasks SET queue = $1 WHERE id = $2", name, task.ID().String()); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	const notAsked = "tasks_not_asked_to_stop_while_pending_or_failed"
	for _, change := range []string{"stop_requested_at = now()", "stop_requested_at = now(), status = 'failed', queued_at = NULL"} {
		_, err := db.calls.SQL.Exec("UPDATE tasks SET "+change+" WHERE id = $1", task.ID().String())
		if err == nil || !strings.Contains(err.Error(), notAsked) {
			t.Errorf("%s: %v, want %s", change, err, notAsked)
		}
	}
	for _, x := range []struct{ constraint, settings string }{
		{"queues_named", "'A', false"}, {"queues_named", "'" + strings.Repeat("a", 65) + "', false"}, {"queues_named", "E'a\n', false"},
		{"queues_limits_in_range", "'q', false, 0"}, {"queues_limits_in_range", "'q', false, 1, 0, 1"},
		{"queues_rate_whole", "'q', false, 1, 1"}, {"queues_rate_whole", "'q', false, 1, NULL, 1"},
	} {
		if _, err := db.calls.SQL.Exec("INSERT INTO queues VALUES (" + x.settings + ")"); err == nil || !strings.Contains(err.Error(), x.constraint) {
			t.Errorf("%s: %v, want %s", x.settings, err, x.constraint)
		}
	}
	for constraint, record := range map[string]string{
		"attempts_count_from_one":      "0, 'w', now(), now(), 'failed', ''",
		"attempts_worker_not_empty":    "1, '', now(), now(), 'failed', ''",
		"attempts_ended_after_started": "1, 'w', now(), now() - interval '1 microsecond', 'failed', ''",
		"attempts_outcome_known":       "1, 'w', now(), now(), 'completed', ''",
	} {
		_, err := db.calls.SQL.Exec("INSERT INTO attempts VALUES ($1, "+record+")", task.ID().String())
		if err == nil || !strings.Contains(err.Error(), constraint) {
			t.Errorf("%s: %v, want %s", record, err, constraint)
		}
	}
}

func TestSchema_RecordsGoWithTheirTask(t *testing.T) {
	db := migrated(t, Config{})
	task := newTask(t)
	const insert = "INSERT INTO attempts VALUES ($1, 1, 'w', now(), now(), 'failed', '')"
	if _, err := db.calls.SQL.Exec(insert, task.ID().String()); err == nil {
		t.Error("the schema takes a record of an unknown task")
	}
	if err := NewTaskRepository(db).Add(t.Context(), task); err != nil {
		t.Fatal(err)
	}
	db.calls.SQL.MustExec(insert, task.ID().String())
	db.calls.SQL.MustExec("DELETE FROM tasks")
	var left int
	if err := db.calls.SQL.Get(&left, "SELECT count(*) FROM attempts"); err != nil || left != 0 {
		t.Errorf("%d records of a task that is gone, %v", left, err)
	}
}
