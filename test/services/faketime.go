package services

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// PostgresTime makes the server's time of day differ from the machine's by off, in whole
// seconds, ahead or behind. Time passes at its normal speed. It needs libfaketime, which
// exists for Linux: without it the test fails with a line that says how to install it.
func PostgresTime(off time.Duration) PostgresOption {
	return func(s *PostgresServer) { s.off = off }
}

// wrapper is the program and its arguments that run a server whose time of day
// is off; none if it is not.
func wrapper(off time.Duration) ([]string, error) {
	if off == 0 {
		return nil, nil
	}
	library, err := faketime()
	if err != nil {
		return nil, err
	}
	return []string{
		"/usr/bin/env", "LD_PRELOAD=" + library, "FAKETIME=" + offset(off),
		"FAKETIME_DONT_FAKE_MONOTONIC=1", // time-outs are as long as ever
		"FAKETIME_DISABLE_SHM=1",         // a server that is killed would leave it behind
	}, nil
}

// offset is the form of libfaketime: a sign and seconds.
func offset(off time.Duration) string {
	sign := "+"
	if off < 0 {
		sign = "-"
	}
	return sign + strconv.Itoa(int(off.Abs()/time.Second))
}

// faketime finds the library where packages put it.
func faketime() (string, error) {
	for _, pattern := range []string{
		"/usr/lib/*/faketime/libfaketime.so.1", "/usr/lib64/faketime/libfaketime.so.1", "/usr/lib/faketime/libfaketime.so.1",
	} {
		if found, err := filepath.Glob(pattern); err == nil && len(found) > 0 {
			return found[0], nil
		}
	}
	return "", errors.New("libfaketime is not installed: run `make test` or `apt-get install libfaketime`")
}

// Log is all that the server has logged since its last start.
func (s *PostgresServer) Log() string {
	s.t.Helper()
	text, err := os.ReadFile(s.proc.log)
	if err != nil {
		s.t.Fatalf("read the log of PostgreSQL: %v", err)
	}
	return string(text)
}
