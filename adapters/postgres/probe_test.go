package postgres

import (
	"errors"
	"testing"
	"time"

	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/services"
)

// A server that answers every question, and takes no task.
func TestProbe_FailsWhileNoTaskCanBeStored(t *testing.T) {
	db := migrated(t, Config{URL: services.PostgreSQL(t)})
	if err := db.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	lock, err := db.calls.SQL.BeginTxx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	lock.MustExec("LOCK TABLE tasks IN SHARE MODE")
	time.Sleep(provenFor)
	if err := db.Probe(t.Context()); !errors.Is(err, domain.ErrUnavailable) {
		t.Errorf("while the table is locked: %v, want ErrUnavailable", err)
	}
	if err := lock.Rollback(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the probe succeeds", func() error { return db.Probe(t.Context()) })
}

// What is asked every few seconds for ever must leave nothing behind.
func TestProbe_WritesNoRow(t *testing.T) {
	db := migrated(t, Config{URL: services.PostgreSQL(t)})
	var before, after string
	const position = "SELECT pg_current_wal_flush_lsn()"
	if err := db.calls.SQL.Get(&before, position); err != nil {
		t.Fatal(err)
	}
	if err := db.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := db.calls.SQL.Get(&after, position); err != nil || before == after {
		t.Errorf("nothing was flushed: %s, error %v", after, err)
	}
	var size int
	if err := db.calls.SQL.Get(&size, "SELECT pg_relation_size('tasks')"); err != nil || size != 0 {
		t.Errorf("the table has %d bytes, error %v", size, err)
	}
}
