package pgconn

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"

	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/services"
)

// swallower is the address of a host that accepts connections and never answers.
func swallower(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

func TestConnect_AHostThatSwallowsPacketsCostsLittle(t *testing.T) {
	for silent := 1; silent <= 4; silent++ {
		t.Run(fmt.Sprint(silent, " of them"), func(t *testing.T) {
			u, err := url.Parse(services.PostgreSQL(t))
			if err != nil {
				t.Fatal(err)
			}
			var hosts []string
			for range silent {
				hosts = append(hosts, swallower(t))
			}
			u.Host = strings.Join(append(hosts, u.Host), ",")
			pool := openOn(t, u.String(), 2)
			// The time of a probe of readiness.
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			if err := pool.SQL.PingContext(ctx); err != nil {
				t.Fatalf("the other host was not found: %v", err)
			}
			began := time.Now()
			pool.dropIdle()
			if err := pool.SQL.PingContext(ctx); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took > time.Second {
				t.Errorf("the host that served is not tried first: %s", took)
			}
		})
	}
}

func TestConnect_ARefusalIsFinalOnlyAtTheStart(t *testing.T) {
	u, err := url.Parse(services.PostgreSQL(t))
	if err != nil {
		t.Fatal(err)
	}
	admin := openOn(t, u.String(), 1)
	u.User = url.User("nobody_" + strings.TrimPrefix(u.Path, "/"))
	pool := openOn(t, u.String(), 1)
	write := func() error {
		_, err := pool.Exec(t.Context(), "SELECT 1")
		return err
	}
	if err := write(); err == nil || errors.Is(err, domain.ErrUnavailable) {
		t.Errorf("a role that is missing from the start = %v, want an error that ends the program", err)
	}
	admin.SQL.MustExec("CREATE ROLE " + u.User.Username() + " LOGIN")
	if err := write(); err != nil {
		t.Fatal(err)
	}
	pool.dropIdle()
	admin.SQL.MustExec("DROP ROLE " + u.User.Username())
	if err := write(); !errors.Is(err, domain.ErrUnavailable) {
		t.Errorf("a role that went while the program ran = %v, want ErrUnavailable", err)
	}
}

func TestIdle_AConnectionThatTheServerHasEndedIsNotUsed(t *testing.T) {
	pool := open(t, 4)
	var conns []*sqlx.Conn
	for range 4 {
		c, err := pool.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.ExecContext(t.Context(), "SET idle_session_timeout = '100ms'"); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	for _, c := range conns {
		_ = c.Close()
	}
	time.Sleep(500 * time.Millisecond) // the server ends them: nothing else shows that it has
	for range 4 {
		if _, err := pool.Exec(t.Context(), "SELECT 1"); err != nil {
			t.Errorf("the first write after a quiet time = %v", err)
		}
	}
}

// Behind a balancer that has dropped what was idle, without a word to either side.
func TestIdle_ALongIdleConnectionHasToAnswerFirst(t *testing.T) {
	r := newRelay(t, services.PostgreSQL(t))
	pool := openOn(t, r.url, 3)
	var conns []*sqlx.Conn
	for range 3 {
		c, err := pool.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	for _, c := range conns {
		var raw *preparingConn
		if err := c.Raw(func(conn any) error { raw = conn.(*preparingConn); return nil }); err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
		raw.used = raw.used.Add(-time.Minute)
	}
	r.forget()
	began := time.Now()
	for range 3 {
		if _, err := pool.Exec(t.Context(), "SELECT 1"); err != nil {
			t.Errorf("the first write after a quiet time = %v", err)
		}
	}
	if took := time.Since(began); took > 4*time.Second { // one ping waits for a second
		t.Errorf("it took %s", took)
	}
}

func TestWrite_SessionsThatWereGivenUpCountUntilTheServerHasEndedThem(t *testing.T) {
	url := services.PostgreSQL(t)
	pools, err := Open(Config{URL: url, CallTimeout: 500 * time.Millisecond}.WithDefaults(), 2)
	if err != nil {
		t.Fatal(err)
	}
	defer pools[0].Close()
	admin := openOn(t, url, 1)
	most, end := 0, time.Now().Add(4*time.Second)
	var calls sync.WaitGroup
	defer calls.Wait()
	for range 2 {
		calls.Go(func() {
			for time.Now().Before(end) {
				_, _ = pools[0].Exec(t.Context(), "SELECT pg_sleep(60)") // which no lock_timeout ends
			}
		})
	}
	for time.Now().Before(end) {
		var n int
		if err := admin.SQL.Get(&n, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"); err != nil {
			t.Fatal(err)
		}
		most = max(most, n)
		time.Sleep(50 * time.Millisecond)
	}
	if most > 2 {
		t.Errorf("%d sessions of a pool of 2", most)
	}
}

func TestRoleSettings_AreThoseThatAreMissing(t *testing.T) {
	url := services.PostgreSQL(t)
	pool := openOn(t, url, 1)
	missing, err := pool.RoleSettings(t.Context())
	if err != nil || len(missing) == 0 {
		t.Fatalf("%q, %v", missing, err)
	}
	var database string
	if err := pool.SQL.Get(&database, "SELECT current_database()"); err != nil {
		t.Fatal(err)
	}
	for _, statement := range missing { // for the database rather than the role, which other tests have too
		_, set, _ := strings.Cut(statement, " SET ")
		pool.SQL.MustExec("ALTER DATABASE " + database + " SET " + set)
	}
	if missing, err := openOn(t, url, 1).RoleSettings(t.Context()); err != nil || len(missing) > 0 {
		t.Errorf("they are set, and still missing: %q, %v", missing, err)
	}
}
