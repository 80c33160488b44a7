package chaos

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"syscall"
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
	// The role of the programs, which owns the database and is no superuser.
	role     = "millrace"
	password = "first"
	// maxConns is what the documents promise of all programs together, with the default
	// of DATABASE_MAX_CONNS.
	maxConns = apis*10 + workers*12
)

// twoHosts is which of the APIs and which of the workers have two hosts in their
// DATABASE_URL: two links to the one server.
const twoHosts = 1

// work is how long a task takes each of the workers: those of the last are there
// to be interrupted.
var work = [workers]time.Duration{20 * time.Millisecond, 200 * time.Millisecond, time.Second}

// cluster is Millrace as processes, each of which reaches PostgreSQL and Redis
// over links of its own.
type cluster struct {
	t        *testing.T
	postgres *services.PostgresServer
	redis    *services.RedisServer
	direct   *sql.DB // past all links, as a superuser
	apis     []*member
	workers  []*member
}

// member is a program of the cluster: one process after the other.
type member struct {
	t         *testing.T
	program   string
	env       []string
	postgres  []*link
	redis     *link
	addr      addr // where it answers /readyz, and an API everything else
	processes []*programs.Process
}

// startCluster starts all but the workers.
func startCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{t: t, redis: services.StartRedis(t), postgres: services.StartPostgreSQL(t, services.PostgresSmallLog(), // see fillDisk
		services.PostgresConf("track_commit_timestamp = on"), // see cluster.audit
		services.PostgresHBA("host all "+role+" 127.0.0.1/32 scram-sha-256"))}
	c.direct = open(t, c.postgres.URL("postgres"))
	c.exec(fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD '%s'", role, password))
	c.exec("ALTER DATABASE postgres OWNER TO " + role)
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
	m := &member{t: c.t, program: program, redis: newLink(c.t, name+" to Redis", c.redis.Port)}
	m.postgres = append(m.postgres, newLink(c.t, name+" to PostgreSQL", c.postgres.Port))
	hosts := m.postgres[0].addr()
	if i == twoHosts {
		m.postgres = append(m.postgres, newLink(c.t, name+" to PostgreSQL, the second host", c.postgres.Port))
		hosts += "," + m.postgres[1].addr()
	}
	m.env = append([]string{
		fmt.Sprintf("DATABASE_URL=postgres://%s:%s@%s/postgres?sslmode=disable", role, password, hosts),
		"QUEUE_URL=redis://" + m.redis.addr(),
	}, env...)
	return m
}

// start starts the next process.
func (m *member) start() {
	m.t.Helper()
	at, setting := programs.FreeAddr(m.t), "ADMIN_ADDR"
	if m.program == "api" {
		setting = "LISTEN_ADDR"
	}
	m.addr.set(at)
	m.processes = append(m.processes, programs.Start(m.t, m.t.TempDir(), append([]string{setting + "=" + at}, m.env...), m.program))
}

// stop tells the program to stop, as a deployment does; it has to end well whatever
// else is broken.
func (m *member) stop() {
	m.t.Helper()
	m.process().Signal(syscall.SIGTERM)
	if code := m.process().Wait(settleLimit); code != 0 { // a second signal would end it at once
		m.t.Errorf("a program that was told to stop ended with code %d: %s", code, m.program)
	}
}

// process is the one that runs, or ran last.
func (m *member) process() *programs.Process { return m.processes[len(m.processes)-1] }

// exec makes a superuser's statement.
func (c *cluster) exec(statement string, args ...any) {
	c.t.Helper()
	if err := execute(c.t, c.direct, statement, args...); err != nil {
		c.t.Fatalf("%s: %v", statement, err)
	}
}

func execute(t *testing.T, db *sql.DB, statement string, args ...any) error {
	ctx, cancel := context.WithTimeout(t.Context(), settleLimit)
	defer cancel()
	_, err := db.ExecContext(ctx, statement, args...)
	return err
}

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
