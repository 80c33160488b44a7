package services

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "github.com/lib/pq" // to create and drop databases
)

// PostgreSQL returns the URL of an empty database of the test's own, dropped at
// its end. The server is shared by the tests of the process and does not flush to
// disk. Without an installed PostgreSQL the test fails with a line that says how to
// install it.
func PostgreSQL(t testing.TB) string {
	t.Helper()
	base, err := sharedPostgreSQL()
	if err != nil {
		t.Fatal(err)
	}
	name := "millrace_test_" + strings.ToLower(rand.Text())
	// template0, because it accepts no connections.
	create := "CREATE DATABASE " + name + " TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'"
	if err := execute(base, create); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := execute(base, "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			t.Error(err)
		}
	})
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	return u.String()
}

// sharedPostgreSQL returns the URL of a database to create others from. The
// janitor ends the server.
var sharedPostgreSQL = sync.OnceValues(func() (string, error) {
	if given := os.Getenv("TEST_DATABASE_URL"); given != "" {
		if u, err := url.Parse(given); err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
			return "", errors.New("TEST_DATABASE_URL: must be a postgres:// URL")
		}
		return given, nil
	}
	s, err := newPostgreSQL([]string{"fsync = off", "synchronous_commit = off", "full_page_writes = off"})
	if err != nil {
		return "", err
	}
	return s.URL("postgres"), nil
})

func execute(database, statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	db, err := sql.Open("postgres", database)
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, statement); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}

// PostgresOption configures a PostgresServer.
type PostgresOption func(*PostgresServer)

// PostgresConf adds lines to postgresql.conf.
func PostgresConf(lines ...string) PostgresOption {
	return func(s *PostgresServer) { s.conf = append(s.conf, lines...) }
}

// PostgresHBA puts lines before those of pg_hba.conf, which trust everybody.
func PostgresHBA(lines ...string) PostgresOption {
	return func(s *PostgresServer) { s.hba = append(s.hba, lines...) }
}

// PostgresServer is a server of one test's own, to stop and to kill; it flushes
// to disk. Its methods are for the goroutine of the test, and fail the test.
type PostgresServer struct {
	// Port of 127.0.0.1; it stays the same when the server is started again.
	Port int

	t      testing.TB
	w      *workspace
	bin    string
	dir    string
	conf   []string
	hba    []string
	initdb []string      // more of its arguments
	off    time.Duration // of its time of day from the machine's
	proc   *process
}

// StartPostgreSQL starts a server for this test alone; it is gone at its end.
func StartPostgreSQL(t testing.TB, options ...PostgresOption) *PostgresServer {
	t.Helper()
	s, err := newPostgreSQL(nil, options...)
	if err != nil {
		t.Fatal(err)
	}
	s.t = t
	t.Cleanup(s.remove)
	return s
}

// StopMode is how PostgreSQL stops.
type StopMode syscall.Signal

// The modes.
const (
	StopSmart     = StopMode(syscall.SIGTERM) // once every client has gone
	StopFast      = StopMode(syscall.SIGINT)  // transactions are rolled back, clients told
	StopImmediate = StopMode(syscall.SIGQUIT) // as in a crash, but clients are told
)

// URL names a database of the server; "postgres" is there from the start.
func (s *PostgresServer) URL(database string) string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/%s?sslmode=disable", s.Port, database)
}

// Stop stops the server and waits until it is gone. It does nothing to a server
// that is gone.
func (s *PostgresServer) Stop(mode StopMode) {
	s.t.Helper()
	if err := s.proc.end(syscall.Signal(mode)); err != nil {
		s.t.Fatalf("stop PostgreSQL: %v", err)
	}
}

// Kill kills the postmaster as a crash would, without any notice to clients.
func (s *PostgresServer) Kill() {
	s.t.Helper()
	if err := s.proc.end(syscall.SIGKILL); err != nil {
		s.t.Fatalf("kill PostgreSQL: %v", err)
	}
}

// Start starts the server again with the same port and data, and returns when it
// accepts connections. It does nothing to a server that runs.
func (s *PostgresServer) Start() {
	s.t.Helper()
	if !s.proc.gone() {
		return
	}
	// The orphans of a killed postmaster hold its memory and port for a moment.
	err := await(func() (bool, error) {
		err := s.launch(s.Port)
		if err != nil && (errors.Is(err, errPortTaken) || strings.Contains(err.Error(), "still in use")) {
			return false, nil
		}
		return err == nil, err
	})
	if err != nil {
		s.t.Fatalf("start PostgreSQL again: %v", err)
	}
}

func newPostgreSQL(conf []string, options ...PostgresOption) (*PostgresServer, error) {
	bin, err := postgresDir()
	if err != nil {
		return nil, err
	}
	w, err := openWorkspace()
	if err != nil {
		return nil, err
	}
	dir, err := w.newDir("postgres")
	if err != nil {
		return nil, err
	}
	s := &PostgresServer{w: w, bin: bin, dir: dir, conf: append([]string{
		"listen_addresses = '127.0.0.1'",
		"unix_socket_directories = ''", // paths of sockets are short, those of temporary directories are not
		"max_connections = 300",
	}, conf...)}
	for _, option := range options {
		option(s)
	}
	if err := s.initialize(); err != nil {
		return nil, err
	}
	return s, onFreePort(s.launch)
}

func (s *PostgresServer) data() string { return filepath.Join(s.dir, "data") }

// initialize makes the data directory.
func (s *PostgresServer) initialize() error {
	initdb, err := s.w.start(s.dir, "KILL", filepath.Join(s.bin, "initdb"), append([]string{"--pgdata", s.data(),
		"--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"}, s.initdb...)...)
	if err != nil {
		return err
	}
	if err := await(func() (bool, error) { return initdb.gone(), nil }); err != nil {
		return fmt.Errorf("initdb: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(s.data(), "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return initdb.failure()
	}
	_, err = file.WriteString(strings.Join(s.conf, "\n") + "\n")
	return errors.Join(err, file.Close(), s.prependHBA())
}

// prependHBA writes the lines of pg_hba.conf that come first.
func (s *PostgresServer) prependHBA() error {
	if len(s.hba) == 0 {
		return nil
	}
	path := filepath.Join(s.data(), "pg_hba.conf")
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return os.WriteFile(path, append([]byte(strings.Join(s.hba, "\n")+"\n"), text...), 0o600) // its owner stays
}

// launch starts the server and waits until its postmaster.pid says that it accepts
// connections: another server may answer on the port.
func (s *PostgresServer) launch(port int) error {
	program, err := wrapper(s.off)
	if err != nil {
		return err
	}
	program = append(program, filepath.Join(s.bin, "postgres"), "-D", s.data(), "-p", strconv.Itoa(port))
	proc, err := s.w.start(s.dir, "QUIT", program[0], program[1:]...)
	if err != nil {
		return err
	}
	s.proc, s.Port = proc, port
	return await(func() (bool, error) {
		if proc.gone() {
			return false, proc.failure()
		}
		lines := s.postmasterPID()
		if len(lines) < 8 || lines[0] != strconv.Itoa(proc.pid) {
			return false, nil
		}
		status := strings.TrimSpace(lines[7])
		return status == "ready" || status == "standby", nil
	})
}

// postmasterPID returns the lines of the file that a running server keeps; none
// if it has stopped in order.
func (s *PostgresServer) postmasterPID() []string {
	text, err := os.ReadFile(filepath.Join(s.data(), "postmaster.pid"))
	if err != nil {
		return nil
	}
	return strings.Split(string(text), "\n")
}

// remove removes the server with all its files.
func (s *PostgresServer) remove() {
	if err := s.proc.end(syscall.SIGQUIT); err != nil {
		s.t.Errorf("stop PostgreSQL: %v", err)
	}
	if lines := s.postmasterPID(); len(lines) >= 7 { // it was killed: see janitorScript
		if memory := strings.Fields(lines[6]); len(memory) == 2 {
			_ = exec.Command("ipcrm", "-m", memory[1]).Run() // its next start may have done so
		}
	}
	// Orphans of a killed postmaster may still be writing.
	if err := await(func() (bool, error) { return os.RemoveAll(s.dir) == nil, nil }); err != nil {
		s.t.Errorf("remove %s: %v", s.dir, err)
	}
}

// postgresDir finds the folder with the programs of PostgreSQL: in PATH, else
// the newest where packages put them.
func postgresDir() (string, error) {
	dirs := filepath.SplitList(os.Getenv("PATH"))
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin",
		"/opt/homebrew/opt/postgresql@*/bin", "/usr/local/opt/postgresql@*/bin", "/home/linuxbrew/.linuxbrew/opt/postgresql@*/bin",
	} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return "", err
		}
		slices.SortFunc(found, func(a, b string) int { return version(b) - version(a) })
		dirs = append(dirs, found...)
	}
	for _, dir := range dirs {
		if executable(filepath.Join(dir, "postgres")) && executable(filepath.Join(dir, "initdb")) {
			return dir, nil
		}
	}
	return "", errors.New("PostgreSQL is not installed: run `make test`, `apt-get install postgresql` or `brew install postgresql@16`, or set TEST_DATABASE_URL")
}

// version is the number in the path of a folder of PostgreSQL.
func version(dir string) int {
	digits := strings.FieldsFunc(dir, func(r rune) bool { return r < '0' || r > '9' })
	n := 0
	if len(digits) > 0 {
		n, _ = strconv.Atoi(digits[0]) // digits only
	}
	return n
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0
}
