package services_test

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/millrace/millrace/test/services"
)

// childVariable makes the test binary play the test process that is killed.
const childVariable = "SERVICES_TEST_CHILD"

// TestChild is the child process of TestNothingIsLeft: it prints what it has started, and
// then ends in the way that the parent asks for.
func TestChild(t *testing.T) {
	end := os.Getenv(childVariable)
	if end == "" {
		return
	}
	shared := services.PostgreSQL(t)
	own := services.StartPostgreSQL(t)
	standby := services.StartStandby(t, own, "standby")
	if end == "kill-postmaster" {
		own.Kill()
	}
	fmt.Printf("servers %s %s %s %s\n", shared, own.URL("postgres"), standby.URL("postgres"), services.StartRedis(t).URL())
	switch end {
	case "panic":
		panic("as told")
	case "exit":
		os.Exit(3)
	}
	time.Sleep(time.Hour)
}

func TestNothingIsLeft_WhateverEndsTheProcess(t *testing.T) {
	for _, end := range []string{"sigkill", "kill-postmaster", "panic", "exit"} {
		t.Run(end, func(t *testing.T) {
			t.Parallel()
			temp := t.TempDir()
			for _, dir := range []string{temp, filepath.Dir(temp)} {
				if err := os.Chmod(dir, 0o755); err != nil { // the user that servers of root run as must get in
					t.Fatal(err)
				}
			}
			child := exec.Command(os.Args[0], "-test.run=^TestChild$", "-test.v")
			child.Env = append(os.Environ(), childVariable+"="+end, "TMPDIR="+temp, "TEST_DATABASE_URL=", "TEST_REDIS_URL=")
			out, err := child.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := child.Start(); err != nil {
				t.Fatal(err)
			}
			servers := readServers(t, out)
			left, err := os.ReadDir(temp)
			if err != nil || len(left) != 1 {
				t.Fatalf("the child works in %v, %v: want one directory", left, err)
			}
			pids := serverPIDs(t, filepath.Join(temp, left[0].Name()))
			if end == "sigkill" || end == "kill-postmaster" {
				if err := child.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
			_, _ = io.Copy(io.Discard, out)
			_ = child.Wait() // it fails, as told
			eventually(t, 2*time.Minute, "its directory is gone", func() bool {
				left, err := os.ReadDir(temp)
				return err == nil && len(left) == 0
			})
			for _, server := range servers {
				if conn, err := net.Dial("tcp", hostOf(t, server)); err == nil {
					conn.Close()
					t.Errorf("%s still answers", server)
				}
			}
			for _, pid := range pids {
				if alive(pid) {
					t.Errorf("process %d is left", pid)
				}
			}
		})
	}
}

// readServers reads the line that TestChild prints.
func readServers(t *testing.T, out io.Reader) []string {
	t.Helper()
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if list, ok := strings.CutPrefix(lines.Text(), "servers "); ok {
			return strings.Fields(list)
		}
	}
	t.Fatal("the child has started no servers")
	return nil
}

// serverPIDs reads what the janitor would read.
func serverPIDs(t *testing.T, dir string) []int {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "pids", "*"))
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, file := range files {
		var signal string
		var pid int
		if text, err := os.ReadFile(file); err == nil {
			if _, err := fmt.Sscan(string(text), &signal, &pid); err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	return pids
}

// alive reports whether the process runs. A zombie does not.
func alive(pid int) bool {
	if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil {
		if i := strings.LastIndex(string(stat), ") "); i >= 0 && strings.HasPrefix(string(stat)[i+2:], "Z") {
			return false
		}
	}
	return syscall.Kill(pid, 0) == nil
}

func TestPostgreSQL_GivesEachTestADatabaseOfItsOwn(t *testing.T) {
	one, two := services.PostgreSQL(t), services.PostgreSQL(t)
	if one == two {
		t.Fatalf("two tests share %s", one)
	}
	query(t, one, "CREATE TABLE t (i int)")
	query(t, two, "CREATE TABLE t (i int)")
	var inside string
	t.Run("dropped at the end", func(t *testing.T) {
		inside = services.PostgreSQL(t)
		db, err := sql.Open("postgres", inside)
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Ping(); err != nil { // stays connected
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
	})
	u, err := url.Parse(inside)
	if err != nil {
		t.Fatal(err)
	}
	if n := query(t, one, "SELECT count(*) FROM pg_database WHERE datname = '"+strings.TrimPrefix(u.Path, "/")+"'"); n != "0" {
		t.Errorf("%s is still there", inside)
	}
}

func TestStartPostgreSQL_StopsDiesAndStartsAgainWithItsData(t *testing.T) {
	s := services.StartPostgreSQL(t, services.PostgresConf("application_name = 'from the option'"))
	at := s.URL("postgres")
	if got := query(t, at, "SHOW application_name"); got != "from the option" {
		t.Errorf("application_name is %q", got)
	}
	if got := query(t, at, "SHOW fsync"); got != "on" {
		t.Errorf("fsync is %s: nothing can be said about durability", got)
	}
	query(t, at, "CREATE TABLE t AS SELECT 0 AS i")
	for i, stop := range []func(){
		s.Kill,
		func() { s.Stop(services.StopImmediate) },
		func() { s.Stop(services.StopFast) },
		func() { s.Stop(services.StopSmart) },
	} {
		stop()
		if conn, err := net.Dial("tcp", hostOf(t, at)); err == nil {
			conn.Close()
			t.Fatal("it still answers")
		}
		s.Start()
		s.Start() // it runs already
		if got := query(t, at, "UPDATE t SET i = i + 1 RETURNING i"); got != strconv.Itoa(i+1) {
			t.Errorf("after stop %d the data says %s", i, got)
		}
	}
}

func TestStartStandby_HasWhatThePrimaryHasConfirmed(t *testing.T) {
	primary := services.StartPostgreSQL(t, services.PostgresConf("synchronous_standby_names = 'standby'"))
	standby := services.StartStandby(t, primary, "standby")
	primary.AwaitStandbys(1)
	query(t, primary.URL("postgres"), "CREATE TABLE t AS SELECT 1 AS i")
	if got := query(t, standby.URL("postgres"), "SELECT pg_is_in_recovery()"); got != "true" {
		t.Fatalf("the standby is a primary: %s", got)
	}

	standby.Stop(services.StopImmediate)
	primary.AwaitStandbys(0)
	db, err := sql.Open("postgres", primary.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	confirmed := make(chan error, 1)
	go func() {
		_, err := db.Exec("INSERT INTO t VALUES (2)")
		confirmed <- err
	}()
	select {
	case err := <-confirmed:
		t.Fatalf("a commit was confirmed that no standby has: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	standby.Start()
	if err := <-confirmed; err != nil {
		t.Fatal(err)
	}

	primary.Crash()
	if conn, err := net.Dial("tcp", hostOf(t, primary.URL("postgres"))); err == nil {
		conn.Close()
		t.Fatal("the primary still answers")
	}
	standby.Promote()
	if got := query(t, standby.URL("postgres"), "INSERT INTO t VALUES (3) RETURNING (SELECT count(*) FROM t)"); got != "2" {
		t.Errorf("the promoted standby has %s rows, not 2", got)
	}
}

func TestPostgreSQL_IsAStandbyForAWhile(t *testing.T) {
	s := services.StartPostgreSQL(t)
	query(t, s.URL("postgres"), "CREATE TABLE t AS SELECT 1 AS i")
	s.Demote()
	if got := query(t, s.URL("postgres"), "SELECT pg_is_in_recovery()"); got != "true" {
		t.Fatalf("it takes writes: %s", got)
	}
	s.Promote()
	if got := query(t, s.URL("postgres"), "INSERT INTO t VALUES (2) RETURNING (SELECT count(*) FROM t)"); got != "1" {
		t.Errorf("it had %s rows, not 1", got)
	}
}

func TestPostgreSQL_AsksARoleForItsPassword(t *testing.T) {
	s := services.StartPostgreSQL(t, services.PostgresHBA("host all guest 127.0.0.1/32 scram-sha-256"))
	query(t, s.URL("postgres"), "CREATE ROLE guest LOGIN PASSWORD 'right'")
	for password, welcome := range map[string]bool{"right": true, "wrong": false} {
		url := strings.Replace(s.URL("postgres"), "postgres@", "guest:"+password+"@", 1)
		db, err := sql.Open("postgres", url)
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Ping(); (err == nil) != welcome {
			t.Errorf("with the %s password: %v", password, err)
		}
		db.Close()
	}
}

func TestRedis_StopsDiesAndStartsAgainEmpty(t *testing.T) {
	s := services.StartRedis(t)
	if s.Port == 6379 {
		t.Fatal("it is on the standard port")
	}
	for _, stop := range []func(){s.Kill, s.Stop} {
		if got := command(t, s.URL(), "APPEND", "key", "x"); got != int64(1) {
			t.Errorf("it is not empty: %v", got)
		}
		stop()
		if conn, err := redis.DialURL(s.URL()); err == nil {
			conn.Close()
			t.Fatal("it still answers")
		}
		s.Start()
		s.Start() // it runs already
	}
}

func TestGivenServersAreUsed(t *testing.T) {
	given := services.StartRedis(t).URL()
	t.Setenv("TEST_REDIS_URL", given)
	command(t, given, "SET", "of somebody else", "x")
	t.Run("with a prefix", func(t *testing.T) {
		u, err := url.Parse(services.Redis(t))
		if err != nil {
			t.Fatal(err)
		}
		prefix := u.Query().Get("prefix")
		u.RawQuery = ""
		if prefix == "" || u.String() != given {
			t.Fatalf("got %s and the prefix %q", u, prefix)
		}
		for i := range 20 {
			command(t, given, "SET", prefix+strconv.Itoa(i), "x")
		}
	})
	if n := command(t, given, "DBSIZE"); n != int64(1) {
		t.Errorf("%v keys are left, want only that of somebody else", n)
	}
}

func hostOf(t *testing.T, server string) string {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	if port := u.Port(); port == "" || port == "5432" || port == "6379" {
		t.Fatalf("%s is on a standard port", server)
	}
	return u.Host
}

// query runs one statement and returns the value in its first row, if any.
func query(t *testing.T, database, statement string) string {
	t.Helper()
	db, err := sql.Open("postgres", database)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	rows, err := db.QueryContext(ctx, statement)
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	defer rows.Close()
	var value string
	if rows.Next() {
		if err := rows.Scan(&value); err != nil {
			t.Fatal(err)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	return value
}

func command(t *testing.T, server, name string, args ...any) any {
	t.Helper()
	conn, err := redis.DialURL(server)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	reply, err := conn.Do(name, args...)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return reply
}

func eventually(t *testing.T, limit time.Duration, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not after %v: %s", limit, what)
		}
	}
}
