package sqlite_test

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/millrace/millrace/adapters/sqlite"
)

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
		"status = 'completed', queued_at = NULL, attempt = 1, started_at = 1, worker = 'w', result_altered = 2",
		"queue = ''", "queue = 'Default'", "queue = '.a'", "queue = 'a b'", "queue = 'a' || char(0)", "queue = 'ä'",
		"queue = '" + strings.Repeat("a", 65) + "'", "priority = -1", "priority = 10", "timeout = 0", "timeout = -1", "timeout = '1 s'",
		"metadata = '[]'", `metadata = '{"a": 1}'`, `metadata = '{"a": ["b"]}'`, "metadata = '{'", "metadata = '1'", "result = 'done'", "result_truncated = 1", "result_altered = 1", "stop_requested_at = 1",
	} {
		if _, err := writer.Exec("UPDATE tasks SET " + change + " WHERE id = x'" + hex.EncodeToString(id[:]) + "'"); err == nil {
			t.Errorf("the schema takes %s", change)
		}
	}
	for _, change := range []string{
		"queue = '0._-" + strings.Repeat("z", 60) + "', priority = 9, timeout = 1, metadata = '{}', trace_parent = 'x'", "metadata = NULL",
		"status = 'processing', queued_at = NULL, attempt = 1, started_at = 1, deadline = 1, worker = 'w'",
		"status = 'completed', deadline = NULL, result = 'done', result_truncated = 1, result_altered = 1",
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

func TestSchema_RefusesSettingsThatNoQueueHas(t *testing.T) {
	db, _ := open(t, fresh(t))
	writer, _ := sqlite.Pools(db)
	for settings, fine := range map[string]bool{
		"'a', 0, NULL, NULL, NULL, NULL": true, "'0._-z', 1, 1, 1, 1, 1": true,
		"'A', 0, NULL, NULL, NULL, NULL": false, "'', 0, NULL, NULL, NULL, NULL": false, "'-a', 0, NULL, NULL, NULL, NULL": false,
		"NULL, 0, NULL, NULL, NULL, NULL": false, "'b', 2, NULL, NULL, NULL, NULL": false, "'b', NULL, NULL, NULL, NULL, NULL": false,
		"'b', 0, 0, NULL, NULL, NULL": false, "'b', 0, NULL, 0, 1, NULL": false, "'b', 0, NULL, 1, 0, NULL": false,
		"'b', 0, NULL, 1, NULL, NULL": false, "'b', 0, NULL, NULL, 1, NULL": false,
		"'c', 0, NULL, NULL, NULL, NULL, 0, 1, NULL": true, "'b', 0, NULL, NULL, NULL, NULL, -1, NULL, NULL": false,
		"'b', 0, NULL, NULL, NULL, NULL, NULL, -1, NULL": false, "'b', 0, NULL, NULL, NULL, NULL, NULL, NULL, 9223372036854776": false,
	} {
		if strings.Count(settings, ",") < 8 {
			settings += ", NULL, NULL, NULL"
		}
		if _, err := writer.Exec("INSERT INTO queues VALUES (" + settings + ")"); (err == nil) != fine {
			t.Errorf("settings %s: %v, want them taken: %v", settings, err, fine)
		}
	}
}

func TestSchema_RefusesWhatCannotBeReadAgain(t *testing.T) {
	db, _ := open(t, fresh(t))
	writer, _ := sqlite.Pools(db)
	for row, fine := range map[string]bool{
		"idempotency_keys VALUES ('', 'k', zeroblob(32), zeroblob(32), 1)":                             true,
		"idempotency_keys VALUES ('', 'l', zeroblob(31), zeroblob(16), 1)":                             false,
		"idempotency_keys VALUES ('', 'l', zeroblob(32), zeroblob(15), 1)":                             false,
		"bulks VALUES (zeroblob(16), 'stop', '{}', zeroblob(16), 0, 0, 1, 1, 1, 0, 0, '', '')":         true,
		"bulks VALUES (x'01', 'stop', '{}', zeroblob(16), 0, 0, 1, 1, 1, 0, 0, '', '')":                false,
		"bulks VALUES (randomblob(16), 'stop', '{}', x'', 0, 0, 1, 1, 1, 0, 0, '', '')":                false,
		"bulks VALUES (randomblob(16), 'run', '{}', zeroblob(16), 0, 0, 1, 1, 1, 0, 0, '', '')":        false,
		"bulks VALUES (randomblob(16), 'stop', '[]', zeroblob(16), 0, 0, 1, 1, 1, 0, 0, '', '')":       false,
		"bulks VALUES (randomblob(16), 'stop', '{', zeroblob(16), 0, 0, 1, 1, 1, 0, 0, '', '')":        false,
		"workers VALUES ('w', 'h', 1, 'v', 1, 1, 1, 1, 1, '[]', 1, 1, 0, 0)":                           true,
		"workers VALUES ('x', 'h', 1, 'v', 1, 1, 1, 1, 1, 'a,b', 1, 1, 0, 0)":                          false,
		"workers VALUES ('x', 'h', 1, 'v', 1, 1, 1, 1, 1, '{}', 1, 1, 0, 0)":                           false,
		"workers VALUES ('x', 'h', 1, 'v', 1, 1, 1, 1, 1, '[]', 1, 1, -1, 0)":                          false,
		"workers VALUES ('x', 'h', 1, 'v', 1, 1, 1, 1, 1, '[]', 1, 1, 0, 2)":                           false,
		"workers VALUES ('x', 'h', 1, 'v', 1, 1, 1, 1, 1, '[]', 1, 1, 1000001, 0)":                     false,
		"workers VALUES ('x', 'h', 1, 'v', 1, 1, 1, 1, 1, '[]', -1, 1, 0, 0)":                          false,
		"workers VALUES ('x', 'h', 1, 'v', 1, 1, 1, 1, 86400000001, '[]', 1, 1, 0, 0)":                 false,
		"workers VALUES ('x', 'h', 1, 'v', 1, 1, 1, 9223372036854775807, 1, '[]', 1, 1, 0, 0)":         false,
		"bulks VALUES (randomblob(16), 'stop', '{}', zeroblob(16), -1, 0, 1, 1, 1, 0, 0, '', '')":      false,
		"bulks VALUES (randomblob(16), 'stop', '{}', zeroblob(16), 0, 0, 1, 1, 1, 1000001, 0, '', '')": false,
	} {
		if _, err := writer.Exec("INSERT INTO " + row); (err == nil) != fine {
			t.Errorf("row of %s: %v, want it taken: %v", row, err, fine)
		}
	}
}
