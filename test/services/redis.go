package services

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/gomodule/redigo/redis"
)

// Redis returns the URL of an empty Redis of the test's own, which keeps
// nothing on disk. With TEST_REDIS_URL it is that server, and the URL has a prefix
// parameter that all keys of the test must start with; those keys are deleted at
// its end. Without an installed Redis the test fails with a line that says how to
// install it.
func Redis(t testing.TB) string {
	t.Helper()
	given := os.Getenv("TEST_REDIS_URL")
	if given == "" {
		return StartRedis(t).URL()
	}
	u, err := url.Parse(given)
	if err != nil || u.Scheme != "redis" && u.Scheme != "rediss" {
		t.Fatal("TEST_REDIS_URL: must be a redis:// or rediss:// URL")
	}
	prefix := "millrace-test-" + strings.ToLower(rand.Text()) + ":"
	query := u.Query()
	query.Set("prefix", prefix)
	u.RawQuery = query.Encode()
	t.Cleanup(func() {
		if err := deleteKeys(given, prefix); err != nil {
			t.Errorf("delete the keys of the test: %v", err)
		}
	})
	return u.String()
}

// deleteKeys deletes every key with the prefix.
func deleteKeys(server, prefix string) error {
	conn, err := redis.DialURL(server, redisTimeouts()...)
	if err != nil {
		return err
	}
	defer conn.Close()
	for cursor := "0"; ; {
		page, err := redis.Values(conn.Do("SCAN", cursor, "MATCH", prefix+"*", "COUNT", 1000))
		if err != nil {
			return err
		}
		var keys []string
		if _, err := redis.Scan(page, &cursor, &keys); err != nil {
			return err
		}
		if len(keys) > 0 {
			if _, err := conn.Do("DEL", redis.Args{}.AddFlat(keys)...); err != nil {
				return err
			}
		}
		if cursor == "0" {
			return nil
		}
	}
}

func redisTimeouts() []redis.DialOption {
	return []redis.DialOption{
		redis.DialConnectTimeout(patience), redis.DialReadTimeout(patience), redis.DialWriteTimeout(patience),
	}
}

// RedisServer is a server of one test's own, to stop and to kill. It keeps
// nothing on disk. Its methods are for the goroutine of the test, and fail the test.
type RedisServer struct {
	// Port of 127.0.0.1; it stays the same when the server is started again.
	Port int

	t    testing.TB
	w    *workspace
	bin  string
	dir  string
	proc *process

	options []string
}

// StartRedis starts a server for this test alone; it is gone at its end. The options
// are added to its command line.
func StartRedis(t testing.TB, options ...string) *RedisServer {
	t.Helper()
	s, err := newRedis(options...)
	if err != nil {
		t.Fatal(err)
	}
	s.t = t
	t.Cleanup(s.remove)
	return s
}

// URL names the server.
func (s *RedisServer) URL() string { return fmt.Sprintf("redis://127.0.0.1:%d", s.Port) }

// Stop stops the server in order and waits until it is gone. It does nothing to
// a server that is gone.
func (s *RedisServer) Stop() {
	s.t.Helper()
	if err := s.proc.end(syscall.SIGTERM); err != nil {
		s.t.Fatalf("stop Redis: %v", err)
	}
}

// Kill kills the server as a crash would.
func (s *RedisServer) Kill() {
	s.t.Helper()
	if err := s.proc.end(syscall.SIGKILL); err != nil {
		s.t.Fatalf("kill Redis: %v", err)
	}
}

// Start starts the server again, empty, on the same port, and returns when it
// answers. It does nothing to a server that runs.
func (s *RedisServer) Start() {
	s.t.Helper()
	if !s.proc.gone() {
		return
	}
	err := await(func() (bool, error) {
		err := s.launch(s.Port)
		if errors.Is(err, errPortTaken) {
			return false, nil
		}
		return err == nil, err
	})
	if err != nil {
		s.t.Fatalf("start Redis again: %v", err)
	}
}

func newRedis(options ...string) (*RedisServer, error) {
	bin, err := redisBinary()
	if err != nil {
		return nil, err
	}
	w, err := openWorkspace()
	if err != nil {
		return nil, err
	}
	dir, err := w.newDir("redis")
	if err != nil {
		return nil, err
	}
	s := &RedisServer{w: w, bin: bin, dir: dir, options: options}
	return s, onFreePort(s.launch)
}

// launch starts the server and waits until it answers on the port: another server may
// answer there.
func (s *RedisServer) launch(port int) error {
	proc, err := s.w.start(s.dir, "KILL", s.bin, append([]string{
		"--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--dir", s.dir, "--save", "", "--appendonly", "no",
	}, s.options...)...)
	if err != nil {
		return err
	}
	s.proc, s.Port = proc, port
	return await(func() (bool, error) {
		if proc.gone() {
			return false, proc.failure()
		}
		return s.answers(), nil
	})
}

func (s *RedisServer) answers() bool {
	conn, err := redis.DialURL(s.URL(), redisTimeouts()...)
	if err != nil {
		return false
	}
	defer conn.Close()
	info, err := redis.String(conn.Do("INFO", "server"))
	return err == nil && strings.Contains(info, fmt.Sprintf("\r\nprocess_id:%d\r\n", s.proc.pid))
}

// remove removes the server with all its files.
func (s *RedisServer) remove() {
	if err := s.proc.end(syscall.SIGKILL); err != nil {
		s.t.Errorf("stop Redis: %v", err)
	}
	if err := os.RemoveAll(s.dir); err != nil {
		s.t.Error(err)
	}
}

// redisBinary finds redis-server: in PATH, else where packages put it.
func redisBinary() (string, error) {
	if path, err := exec.LookPath("redis-server"); err == nil {
		return path, nil
	}
	for _, path := range []string{
		"/usr/bin/redis-server", "/usr/local/bin/redis-server", "/opt/homebrew/bin/redis-server", "/home/linuxbrew/.linuxbrew/bin/redis-server",
	} {
		if executable(path) {
			return path, nil
		}
	}
	return "", errors.New("Redis is not installed: run `make test`, `apt-get install redis-server` or `brew install redis`, or set TEST_REDIS_URL")
}
