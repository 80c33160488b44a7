package services

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// PgBouncer starts a PgBouncer in front of the server of a database, with these lines
// in its configuration, and returns the URL of the database through it. It is gone at
// the end of the test. Without an installed PgBouncer the test fails with a line that
// says how to install it.
func PgBouncer(t testing.TB, database string, conf ...string) string {
	t.Helper()
	through, stop, err := startPgBouncer(database, conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("stop PgBouncer: %v", err)
		}
	})
	return through
}

// PgBouncerForgets is the configuration with which PgBouncer does not keep prepared
// statements from one transaction to the next.
func PgBouncerForgets(t testing.TB) []string {
	t.Helper()
	conf := []string{"pool_mode = transaction"}
	bin, err := pgbouncer()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), bin, "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	var major, minor int
	if _, err := fmt.Sscanf(string(out), "PgBouncer %d.%d", &major, &minor); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if major > 1 || minor >= 21 { // it could, and earlier ones do not know the setting
		conf = append(conf, "max_prepared_statements = 0")
	}
	return conf
}

func startPgBouncer(database string, conf []string) (through string, stop func() error, err error) {
	bin, err := pgbouncer()
	if err != nil {
		return "", nil, err
	}
	u, err := url.Parse(database)
	if err != nil {
		return "", nil, err
	}
	w, err := openWorkspace()
	if err != nil {
		return "", nil, err
	}
	dir, err := w.newDir("pgbouncer")
	if err != nil {
		return "", nil, err
	}
	users := filepath.Join(dir, "users.txt")
	if err := os.WriteFile(users, fmt.Appendf(nil, "%q \"\"\n", u.User.Username()), 0o644); err != nil {
		return "", nil, err
	}
	var proc *process
	err = onFreePort(func(port int) error {
		ini := filepath.Join(dir, "pgbouncer.ini")
		if err := os.WriteFile(ini, []byte(strings.Join(append([]string{
			"[databases]", "* = host=" + u.Hostname() + " port=" + u.Port(),
			"[pgbouncer]", "listen_addr = 127.0.0.1", "listen_port = " + strconv.Itoa(port), "unix_socket_dir =",
			"auth_type = trust", "auth_file = " + users,
		}, conf...), "\n")+"\n"), 0o644); err != nil {
			return err
		}
		if proc, err = w.start(dir, "INT", bin, ini); err != nil {
			return err
		}
		u.Host = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		return await(func() (bool, error) {
			if proc.gone() {
				return false, proc.failure()
			}
			text, err := os.ReadFile(proc.log)
			return err == nil && strings.Contains(string(text), "process up"), err
		})
	})
	return u.String(), func() error { return proc.end(syscall.SIGTERM) }, err
}

// pgbouncer finds the program where packages put it.
func pgbouncer() (string, error) {
	if path, err := exec.LookPath("pgbouncer"); err == nil {
		return path, nil
	}
	for _, path := range []string{"/usr/sbin/pgbouncer", "/usr/bin/pgbouncer", "/opt/homebrew/bin/pgbouncer", "/usr/local/bin/pgbouncer"} {
		if executable(path) {
			return path, nil
		}
	}
	return "", fmt.Errorf("PgBouncer is not installed: run `make test` or `apt-get install pgbouncer`")
}
