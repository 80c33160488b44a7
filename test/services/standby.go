package services

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// StartStandby starts a streaming standby of the primary for this test alone. Its
// application_name is name, which the primary's synchronous_standby_names may list. It has
// the primary's configuration, and is removed at the end.
func StartStandby(t testing.TB, primary *PostgresServer, name string) *PostgresServer {
	t.Helper()
	s, err := newStandby(primary, name)
	if err != nil {
		t.Fatal(err)
	}
	s.t = t
	t.Cleanup(s.remove)
	return s
}

func newStandby(primary *PostgresServer, name string) (*PostgresServer, error) {
	dir, err := primary.w.newDir("postgres")
	if err != nil {
		return nil, err
	}
	// Some programs of an installation may be linked into PATH, and others not.
	program, err := filepath.EvalSymlinks(filepath.Join(primary.bin, "postgres"))
	if err != nil {
		return nil, err
	}
	s := &PostgresServer{w: primary.w, bin: primary.bin, dir: dir}
	backup, err := s.w.start(dir, "KILL", filepath.Join(filepath.Dir(program), "pg_basebackup"), "--pgdata", s.data(),
		"--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync",
		"--dbname", fmt.Sprintf("host=127.0.0.1 port=%d user=postgres application_name=%s", primary.Port, name))
	if err != nil {
		return nil, err
	}
	if err := await(func() (bool, error) { return backup.gone(), nil }); err != nil {
		return nil, fmt.Errorf("pg_basebackup: %w", err)
	}
	if _, err := os.Stat(filepath.Join(s.data(), "standby.signal")); err != nil {
		return nil, backup.failure()
	}
	return s, onFreePort(s.launch)
}

// Crash kills every process of the server at once, as the loss of its machine
// does: not even a commit that its children are about to answer gets through.
func (s *PostgresServer) Crash() {
	s.t.Helper()
	// Stopped, it has no further children.
	if err := s.proc.signal(syscall.SIGSTOP); err != nil {
		s.t.Fatalf("crash PostgreSQL: %v", err)
	}
	children, err := s.children()
	if err != nil {
		s.t.Fatalf("crash PostgreSQL: %v", err)
	}
	for _, pid := range children {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			s.t.Fatalf("crash PostgreSQL: kill process %d: %v", pid, err)
		}
	}
	s.Kill()
}

// children are the processes that the server has started and that are still there.
func (s *PostgresServer) children() (pids []int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	list, err := exec.CommandContext(ctx, "ps", "-A", "-o", "pid=,ppid=").Output()
	if err != nil {
		return nil, fmt.Errorf("list its processes: %w", err)
	}
	for line := range strings.Lines(string(list)) {
		var pid, parent int
		if _, err := fmt.Sscan(line, &pid, &parent); err == nil && parent == s.proc.pid {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// Demote starts the server again as a standby that has no primary: it answers, and takes
// no writes until Promote.
func (s *PostgresServer) Demote() {
	s.t.Helper()
	s.Stop(StopFast)
	signal := filepath.Join(s.data(), "standby.signal")
	if err := os.WriteFile(signal, nil, 0o600); err != nil {
		s.t.Fatalf("demote: %v", err)
	}
	if s.w.owner != nil {
		if err := os.Chown(signal, int(s.w.owner.Uid), int(s.w.owner.Gid)); err != nil {
			s.t.Fatalf("demote: %v", err)
		}
	}
	s.Start()
}

// Promote makes a standby a primary that waits for no standby of its own, and
// returns when it accepts writes.
func (s *PostgresServer) Promote() {
	s.t.Helper()
	for _, statement := range []string{
		// The setting of the old primary was copied, and there is no standby to wait for.
		"ALTER SYSTEM SET synchronous_standby_names = ''",
		"SELECT pg_reload_conf()",
		"SELECT pg_promote(false)",
	} {
		if err := execute(s.URL("postgres"), statement); err != nil {
			s.t.Fatalf("promote: %v", err)
		}
	}
	if err := await(s.takesWrites); err != nil {
		s.t.Fatalf("promote: %v: %v", err, s.proc.failure())
	}
}

func (s *PostgresServer) takesWrites() (bool, error) {
	var standby, waits bool
	err := s.ask("SELECT pg_is_in_recovery(), current_setting('synchronous_standby_names') <> ''", &standby, &waits)
	return err == nil && !standby && !waits, nil
}

// AwaitStandbys waits until n standbys follow this primary synchronously.
func (s *PostgresServer) AwaitStandbys(n int) {
	s.t.Helper()
	err := await(func() (bool, error) {
		var found int
		err := s.ask("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND sync_state IN ('sync', 'quorum')", &found)
		return err == nil && found == n, nil
	})
	if err != nil {
		s.t.Fatalf("wait for %s synchronous standbys: %v", strconv.Itoa(n), err)
	}
}

// ask scans the first row of the answer.
func (s *PostgresServer) ask(query string, into ...any) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	db, err := sql.Open("postgres", s.URL("postgres"))
	if err != nil {
		return err
	}
	defer db.Close()
	return db.QueryRowContext(ctx, query).Scan(into...)
}
