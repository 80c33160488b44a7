package e2e

import (
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/test/programs"
	"github.com/millrace/millrace/test/services"
)

// The settings of a session that PgBouncer has to be told to ignore: docs/operations.md
// has the list.
const ignored = "ignore_startup_parameters = enable_seqscan,idle_in_transaction_session_timeout,jit,statement_timeout"

func TestPrograms_RefuseADatabaseThatIsUnfitWithALineThatSaysWhy(t *testing.T) {
	t.Parallel()
	database := services.PostgreSQL(t)
	db := open(t, database)
	latin := "latin_" + strings.ToLower(rand.Text())
	if _, err := db.ExecContext(t.Context(), "CREATE DATABASE "+latin+" TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'"); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = db.Exec("DROP DATABASE " + latin + " WITH (FORCE)") }()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + latin
	queue := services.Redis(t)
	for name, c := range map[string]struct {
		url  string
		code int
		want string
	}{
		"another encoding": {u.String(), 1, "ENCODING 'UTF8'"},
		"search_path":      {database + "&search_path=nowhere", 1, "search_path"},
		"a pool in transaction mode": {
			services.PgBouncer(t, database, append(services.PgBouncerForgets(t), ignored)...), 2, "max_prepared_statements",
		},
		"a pool that refuses settings": {services.PgBouncer(t, database), 2, "ignore_startup_parameters"},
	} {
		env := []string{"DATABASE_URL=" + c.url, "QUEUE_URL=" + queue, "LISTEN_ADDR=" + programs.FreeAddr(t), "HANDLER=noop:"}
		for what, p := range map[string]*programs.Process{
			"api": programs.Start(t, t.TempDir(), env, "api"), "worker": programs.Start(t, t.TempDir(), env, "worker"),
			"api migrate": programs.Start(t, t.TempDir(), env, "api", "migrate"),
		} {
			code, out := p.Wait(programs.Patience), strings.TrimSpace(p.Output())
			last := out[strings.LastIndex(out, "\n")+1:]
			if code != c.code || !strings.Contains(last, c.want) {
				t.Errorf("%s with %s: exit %d, not %d: %s", what, name, code, c.code, out)
			}
		}
	}
}

func TestPrograms_EndWhenTheirRoleMayOnlyRead(t *testing.T) {
	t.Parallel()
	database := migratedDatabase(t)
	db := open(t, database)
	role := "reader_" + strings.ToLower(rand.Text())
	if _, err := db.ExecContext(t.Context(), "CREATE ROLE "+role+" LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO "+role); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = db.Exec("DROP OWNED BY " + role + "; DROP ROLE " + role) }()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.User(role)
	env := []string{"DATABASE_URL=" + u.String(), "QUEUE_URL=" + services.Redis(t), "LISTEN_ADDR=" + programs.FreeAddr(t), "HANDLER=noop:"}
	for _, name := range []string{"api", "worker"} {
		p := programs.Start(t, t.TempDir(), env, name)
		if code := p.Wait(programs.Patience); code != 1 || !strings.Contains(p.Output(), "lacks rights") {
			t.Errorf("%s: exit %d: %s", name, code, p.Output())
		}
	}
}

func TestService_BehindAPool(t *testing.T) {
	t.Parallel()
	d := deploy(t, services.PgBouncer(t, services.PostgreSQL(t), "pool_mode = session", "default_pool_size = 50", ignored), services.Redis(t))
	d.worker("HANDLER=noop:")
	for n := range 20 {
		d.becomes(d.submit(fmt.Sprint("through the pool ", n)).ID, "completed")
	}
}

func TestPrograms_FindTheOtherHostWhenTheFirstSwallowsPackets(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts, and nobody answers
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	alone := startBehind(t, silent.Addr().String(), 0) // what this machine takes
	for _, hosts := range []int{2, 3} {
		if took := startBehind(t, silent.Addr().String(), hosts-1); took > 10*time.Second+3*alone {
			t.Errorf("%d hosts: ready after %s; with one after %s", hosts, took, alone)
		}
	}
}

// startBehind starts programs whose DATABASE_URL names so many silent hosts before the
// server, and returns how long it took until they were ready and had migrated.
func startBehind(t *testing.T, silent string, n int) time.Duration {
	t.Helper()
	u, err := url.Parse(services.PostgreSQL(t))
	if err != nil {
		t.Fatal(err)
	}
	u.Host = strings.Repeat(silent+",", n) + u.Host
	admin := programs.FreeAddr(t)
	began := time.Now()
	d := deploy(t, u.String(), services.Redis(t))
	d.worker("ADMIN_ADDR="+admin, "HANDLER=noop:")
	programs.WaitReady(t, admin)
	migrate := programs.Start(t, t.TempDir(), d.env, "api", "migrate")
	if code := migrate.Wait(programs.Patience); code != 0 {
		t.Errorf("api migrate: exit %d", code)
	}
	took := time.Since(began)
	d.becomes(d.submit("over the other host").ID, "completed")
	return took
}

func TestPrograms_StartOnASlowLinkAndSayItOnce(t *testing.T) {
	t.Parallel()
	l := newLink(t, services.PostgreSQL(t))
	l.delay.Store(int64(60 * time.Millisecond))
	admin := programs.FreeAddr(t)
	d := deploy(t, l.url, services.Redis(t))
	w := d.worker("ADMIN_ADDR="+admin, "HANDLER=noop:")
	programs.WaitReady(t, admin)
	d.becomes(d.submit("over a slow link").ID, "completed")
	time.Sleep(11 * time.Second) // for the clock to be read again
	for _, p := range []*programs.Process{d.api, w} {
		if n := strings.Count(p.Output(), "the link to the database is slow"); n != 1 {
			t.Errorf("%d warnings of a slow link:\n%s", n, p.Output())
		}
	}
}

func TestService_KeepsOutcomesWhenItsRoleMayNotLogIn(t *testing.T) {
	t.Parallel()
	database := services.PostgreSQL(t)
	db := open(t, database)
	role := "role_" + strings.ToLower(rand.Text())
	exec := func(statement string) {
		t.Helper()
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	exec("CREATE ROLE " + role + " LOGIN SUPERUSER")
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.User(role)
	d := deploy(t, u.String(), services.Redis(t))
	w := d.worker("HANDLER=sleep:2s")
	t.Cleanup(func() { // once the programs are gone
		d.api.Kill()
		w.Kill()
		_, _ = db.Exec("REASSIGN OWNED BY " + role + " TO postgres; DROP ROLE " + role)
	})
	var ids []string
	for n := range 5 {
		ids = append(ids, d.submit(fmt.Sprint("task ", n)).ID)
	}
	for _, id := range ids {
		d.becomes(id, "processing")
	}
	exec("ALTER ROLE " + role + " NOLOGIN")
	exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '" + role + "'")
	for end := time.Now().Add(6 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if status, text := call(t, "http://"+d.addr, http.MethodPost, "/tasks", `{"message":"meanwhile"}`); status != http.StatusServiceUnavailable {
			t.Errorf("meanwhile %d: %s", status, text)
		}
	}
	exec("ALTER ROLE " + role + " LOGIN")
	for _, id := range ids {
		if got := d.becomes(id, "completed"); got.Attempt != 1 || got.Failures != 0 {
			t.Errorf("attempt %d, failures %d; the outcome was not kept", got.Attempt, got.Failures)
		}
	}
	for _, p := range []*programs.Process{d.api, w} {
		for message, n := range complaints(p, "WARN", "ERROR") {
			if n != 1 && !strings.HasPrefix(message, "a crash of the database's machine") && !strings.Contains(message, "readiness check") {
				t.Errorf("%d lines say %q", n, message)
			}
		}
	}
}

func TestAPI_TheFirstWriteAfterAQuietTimeOrARestartSucceeds(t *testing.T) {
	t.Parallel()
	server := services.StartPostgreSQL(t, services.PostgresConf("idle_session_timeout = 1s"))
	d := deploy(t, server.URL("postgres"), services.Redis(t))
	burst := func() {
		var posts sync.WaitGroup
		for n := range 10 {
			posts.Go(func() {
				if status, text := call(t, "http://"+d.addr, http.MethodPost, "/tasks", fmt.Sprintf(`{"message":"%d"}`, n)); status != http.StatusCreated {
					t.Errorf("%d: %s", status, text)
				}
			})
		}
		posts.Wait()
	}
	burst()
	for range 3 {
		time.Sleep(1500 * time.Millisecond)
		burst()
	}
	server.Stop(services.StopFast)
	server.Start()
	burst()
}
