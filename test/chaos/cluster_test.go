package chaos

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"testing"
	"time"

	_ "github.com/lib/pq" // to look at what is stored

	"github.com/millrace/millrace/test/programs"
	"github.com/millrace/millrace/test/services"
)

const (
	apis    = 2
	workers = 3
	// lease is what LEASE_TIMEOUT is set to: recovery is measured against it.
	lease = 3 * time.Second
)

// work is how long a task takes each of the workers: those of the last are there
// to be interrupted.
var work = [workers]time.Duration{20 * time.Millisecond, 200 * time.Millisecond, time.Second}

// cluster is Millrace as processes, each of which reaches PostgreSQL and Redis
// over links of its own.
type cluster struct {
	t        *testing.T
	postgres *services.PostgresServer
	redis    *services.RedisServer
	direct   *sql.DB // past all links
	apis     []*member
	workers  []*member
}

// member is a program of the cluster: one process after the other.
type member struct {
	t         *testing.T
	program   string
	env       []string
	postgres  *link
	redis     *link
	addr      addr
	processes []*programs.Process
}

// startCluster starts all but the workers.
func startCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{t: t, redis: services.StartRedis(t), postgres: services.StartPostgreSQL(t,
		services.PostgresConf("track_commit_timestamp = on"))} // see cluster.audit
	c.direct = open(t, c.postgres.URL("postgres"))
	for i := range apis {
		c.apis = append(c.apis, c.member("api", i))
	}
	for i := range workers {
		c.workers = append(c.workers, c.member("worker", i,
			"HANDLER=log:"+work[i].String(), "QUEUES="+takesAll, "WORKER_QUEUE_MAXSIZE=20", "LEASE_TIMEOUT="+lease.String(),
			"RETRY_BASE=50ms", "RETRY_CAP=1s", "TASK_TIMEOUT=10s", "SHUTDOWN_TIMEOUT=2s"))
	}
	for _, a := range c.apis {
		a.start()
		programs.WaitReady(t, a.addr.get())
	}
	c.audit()
	return c
}

func (c *cluster) member(program string, i int, env ...string) *member {
	name := program + " " + strconv.Itoa(i+1)
	m := &member{t: c.t, program: program, postgres: newLink(c.t, name+" to PostgreSQL", c.postgres.Port), redis: newLink(c.t, name+" to Redis", c.redis.Port)}
	m.env = append([]string{
		fmt.Sprintf("DATABASE_URL=postgres://postgres@%s/postgres?sslmode=disable", m.postgres.addr()),
		"QUEUE_URL=redis://" + m.redis.addr(),
	}, env...)
	return m
}

// start starts the next process.
func (m *member) start() {
	m.t.Helper()
	env := m.env
	if m.program == "api" {
		at := programs.FreeAddr(m.t)
		m.addr.set(at)
		env = append([]string{"LISTEN_ADDR=" + at}, env...)
	}
	m.processes = append(m.processes, programs.Start(m.t, m.t.TempDir(), env, m.program))
}

// process is the one that runs, or ran last.
func (m *member) process() *programs.Process { return m.processes[len(m.processes)-1] }

// open opens a database for the test's own questions.
func open(t *testing.T, url string) *sql.DB {
	t.Helper()
	db, err := sql.Open("postgres", url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// audit has PostgreSQL itself note every change of a task, whoever makes it:
// what is checked at the end does not depend on what Millrace says of itself.
func (c *cluster) audit() {
	c.t.Helper()
	for _, statement := range []string{
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
		// A row that vanishes would be the worst of all.
		`CREATE RULE kept AS ON DELETE TO tasks DO INSTEAD INSERT INTO audit (task, old_status, new_status, at)
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
	} {
		ctx, cancel := context.WithTimeout(c.t.Context(), settleLimit)
		_, err := c.direct.ExecContext(ctx, statement)
		cancel()
		if err != nil {
			c.t.Fatalf("set up the audit: %v", err)
		}
	}
}

// rows asks PostgreSQL, again and again while it is away, and scans each row.
func rows[T any](t *testing.T, db *sql.DB, scan func(*sql.Rows, *T) error, query string, args ...any) []T {
	t.Helper()
	var found []T
	var err error
	for end := time.Now().Add(settleLimit); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if found, err = tryRows(t, db, scan, query, args...); err == nil {
			return found
		}
	}
	t.Fatalf("%s: %v", query, err)
	return nil
}

func tryRows[T any](t *testing.T, db *sql.DB, scan func(*sql.Rows, *T) error, query string, args ...any) ([]T, error) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	r, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var found []T
	for r.Next() {
		var v T
		if err := scan(r, &v); err != nil {
			return nil, err
		}
		found = append(found, v)
	}
	return found, r.Err()
}

// number asks for one number.
func number(t *testing.T, db *sql.DB, query string, args ...any) int {
	t.Helper()
	found := rows(t, db, func(r *sql.Rows, n *int) error { return r.Scan(n) }, query, args...)
	return found[0]
}
