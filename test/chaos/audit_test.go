package chaos

import "fmt"

// auditStatements make what notes every change of a task and of a queue's settings.
var auditStatements = []string{
	`CREATE TABLE audit (n bigserial, task uuid, old_status text, new_status text, old_attempt bigint, new_attempt bigint, rescued boolean, at timestamptz,
		queue text, run_at timestamptz, started_at timestamptz)`,
	`CREATE FUNCTION note_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		INSERT INTO audit (task, old_status, new_status, old_attempt, new_attempt, rescued, at, queue, run_at, started_at)
		VALUES (NEW.id, OLD.status, NEW.status, OLD.attempt, NEW.attempt, NEW.rescues > OLD.rescues, clock_timestamp(),
			NEW.queue, OLD.run_at, NEW.started_at);
		RETURN NULL;
	END $$`,
	`CREATE TRIGGER noted AFTER UPDATE ON tasks FOR EACH ROW
		WHEN (OLD.version IS DISTINCT FROM NEW.version OR OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION note_change()`,
	// A row that vanishes would be the worst of all. Bad rows are the test's own.
	`CREATE RULE kept AS ON DELETE TO tasks WHERE OLD.message <> '` + badRow + `' DO INSTEAD INSERT INTO audit (task, old_status, new_status, at)
		VALUES (OLD.id, OLD.status, 'deleted', clock_timestamp())`,
	// What was set of each queue; what is spent of a rate is none of that. When it was
	// committed is known as well: that may be long after it was noted.
	`CREATE TABLE settings_audit (n bigserial, queue text, paused boolean, max_running bigint, rate_count bigint, rate_per bigint, at timestamptz)`,
	`CREATE FUNCTION note_setting() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		INSERT INTO settings_audit (queue, paused, max_running, rate_count, rate_per, at)
		VALUES (NEW.name, NEW.paused, NEW.max_running, NEW.rate_count, NEW.rate_per, clock_timestamp());
		RETURN NULL;
	END $$`,
	`CREATE TRIGGER noted AFTER UPDATE ON queues FOR EACH ROW
		WHEN ((OLD.paused, OLD.max_running, OLD.rate_count, OLD.rate_per) IS DISTINCT FROM (NEW.paused, NEW.max_running, NEW.rate_count, NEW.rate_per))
		EXECUTE FUNCTION note_setting()`,
}

// audit has PostgreSQL itself note every change of a task, whoever makes it:
// what is checked at the end does not depend on what Millrace says of itself. The
// tables belong to the role of the programs, as triggers act in their name.
func (c *cluster) audit() {
	c.t.Helper()
	db := open(c.t, fmt.Sprintf("postgres://%s:%s@127.0.0.1:%d/postgres?sslmode=disable", role, password, c.postgres.Port))
	defer db.Close()
	for _, statement := range auditStatements {
		if err := execute(c.t, db, statement); err != nil {
			c.t.Fatalf("set up the audit: %v", err)
		}
	}
}
