package services

import (
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"syscall"
)

// fullFile is the size at which no file of a server with PostgresSmallLog grows any more:
// the segments of its log are a MiB, and must be written. That it is not a multiple of a
// page makes a write at the end fall short, which the server calls a full disk.
const fullFile = 1<<20 + 4<<10

// PostgresSmallLog makes the segments of the server's log a MiB, which FillDisk needs.
func PostgresSmallLog() PostgresOption {
	return func(s *PostgresServer) {
		s.initdb = append(s.initdb, "--wal-segsize=1")
		s.conf = append(s.conf, "min_wal_size = 80MB", "max_wal_size = 1GB") // as ever; otherwise they are multiples of the segment
	}
}

// FillDisk makes the server find its disk full (53100) when a table, an index or a
// temporary file has to grow beyond a MiB. Its log goes on. No file system of its own is
// needed for that, so no right to mount one: the limit is one of the server's processes.
// A file that is larger already meets another error (XX000), as a quota's does, and what
// is in it is written back after MakeRoom. The server must not be stopped before.
func (s *PostgresServer) FillDisk() {
	s.t.Helper()
	if err := s.limitFiles(strconv.Itoa(fullFile)); err != nil {
		s.t.Fatalf("fill the disk of PostgreSQL: %v", err)
	}
}

// MakeRoom ends FillDisk.
func (s *PostgresServer) MakeRoom() {
	s.t.Helper()
	if err := s.limitFiles("unlimited"); err != nil {
		s.t.Fatalf("make room on the disk of PostgreSQL: %v", err)
	}
}

// limitFiles sets how large a file the server's processes may write: first of the one
// that starts the others, which inherit it.
func (s *PostgresServer) limitFiles(size string) error {
	if err := s.limit(s.proc.pid, size); err != nil {
		return err
	}
	children, err := s.children()
	if err != nil {
		return err
	}
	for _, pid := range children {
		if err := s.limit(pid, size); err != nil && syscall.Kill(pid, 0) == nil {
			return err
		}
	}
	return nil
}

// limit runs as the owner of the process: who may change its limits.
func (s *PostgresServer) limit(pid int, size string) error {
	program, err := exec.LookPath("prlimit")
	if err != nil {
		return errors.New("prlimit is not installed: run `apt-get install util-linux`")
	}
	cmd := exec.Command(program, "--pid", strconv.Itoa(pid), "--fsize="+size+":")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.w.owner}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", cmd, err, out)
	}
	return nil
}
