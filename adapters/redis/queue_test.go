package redis

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	redigo "github.com/gomodule/redigo/redis"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/contract"
	"github.com/millrace/millrace/test/services"
)

func TestQueue(t *testing.T) {
	contract.Queue(t, func(t *testing.T) application.Queue {
		q, _ := openQueue(t, Config{URL: services.Redis(t)})
		return q
	})
}

func TestQueue_DropsWhatItCannotRead(t *testing.T) {
	q, log := openQueue(t, Config{URL: services.Redis(t)})
	e, other := entry(), entry()
	other.Priority = 9
	for _, l := range []application.Lane{e.Lane, other.Lane} {
		if _, err := q.pool.do(t.Context(), "RPUSH", q.key(l), "nonsense", "", "\xff"); err != nil {
			t.Fatal(err)
		}
	}
	if err := q.Push(t.Context(), e, other); err != nil {
		t.Fatal(err)
	}
	want := map[application.Lane]time.Time{e.Lane: e.QueuedAt, other.Lane: other.QueuedAt}
	if got, err := q.Oldest(t.Context(), other.Lane, e.Lane); err != nil || !maps.Equal(got, want) {
		t.Errorf("the oldest are %v, error %v, want %v", got, err, want)
	}
	if _, err := q.pool.do(t.Context(), "LPUSH", q.key(lane), "more"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []application.Entry{other, e} {
		if got, err := q.Pull(t.Context(), request(10)); err != nil || len(got) != 1 || got[0] != want {
			t.Errorf("pulled %v, error %v, want %v", got, err, want)
		}
	}
	if n := q.dropped.Load(); n != 7 {
		t.Errorf("%d are counted as dropped, want 7", n)
	}
	if text := log.String(); strings.Count(text, "\n") != 7 || !strings.Contains(text, "nonsense") || !strings.Contains(text, "dropped_since_start=7") ||
		!strings.Contains(text, "key="+q.key(other.Lane)) {
		t.Errorf("the log says %q", text)
	}
}

func TestQueue_AnIdlePullIsOneCommandInTwoSeconds(t *testing.T) {
	server := services.StartRedis(t)
	q, _ := openQueue(t, Config{URL: server.URL()})
	// A connection of its own: one of the pool would be tried first.
	conn, err := redigo.DialURL(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	pull := func() (idleSince time.Time) {
		t.Helper()
		if got, err := q.Pull(t.Context(), request(1)); len(got) > 0 || err != nil {
			t.Fatalf("pulled %v, error %v", got, err)
		}
		return time.Now()
	}
	for deadline := time.Now().Add(time.Minute); ; {
		idleSince := pull()
		before := commands(t, conn)
		begin := time.Now()
		took := pull().Sub(begin)
		sent := commands(t, conn) - before - 1 // less that of commands itself
		if begin.Sub(idleSince) > idleCheck/2 && time.Now().Before(deadline) {
			continue // a busy machine: the connection may have been tried first
		}
		if sent != 1 || took < 1900*time.Millisecond {
			t.Errorf("%d commands in %v", sent, took)
		}
		return
	}
}

func TestQueue_SurvivesARestartOfItsServer(t *testing.T) {
	server := services.StartRedis(t)
	q, _ := openQueue(t, Config{URL: server.URL()})
	if err := q.Push(t.Context(), entry()); err != nil { // leaves an idle connection
		t.Fatal(err)
	}
	if _, err := q.Pull(t.Context(), request(1)); err != nil {
		t.Fatal(err)
	}
	pulled := make(chan error, 1)
	go func() {
		_, err := q.Pull(t.Context(), request(1))
		pulled <- err
	}()
	time.Sleep(50 * time.Millisecond) // until it waits
	server.Kill()
	select {
	case err := <-pulled:
		wantUnavailable(t, "the pull that waited", err)
	case <-time.After(time.Minute):
		t.Fatal("the pull still waits for a server that is gone")
	}
	begin := time.Now()
	wantUnavailable(t, "push", q.Push(t.Context(), entry()))
	_, err := q.Pull(t.Context(), request(1))
	wantUnavailable(t, "pull", err)
	wantUnavailable(t, "put back", q.PutBack(t.Context(), entry()))
	_, err = q.Oldest(t.Context(), lane)
	wantUnavailable(t, "oldest", err)
	wantUnavailable(t, "probe", q.pool.Probe(t.Context()))
	if took := time.Since(begin); took > 4*defaultCallTimeout { // five calls, none of which waits for its time-out
		t.Errorf("it took %v to learn that the server is gone", took)
	}
	server.Start()
	time.Sleep(dialPause)
	e := entry()
	if err := q.Push(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if got, err := q.Pull(t.Context(), request(1)); err != nil || len(got) != 1 || got[0] != e {
		t.Errorf("pulled %v, error %v, want %v", got, err, e)
	}
	if err := q.pool.Probe(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestQueue_AServerThatIsAwayIsNotDialedByEveryCall(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var dialed atomic.Int64
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			dialed.Add(1)
			_ = conn.Close()
		}
	})
	defer accepting.Wait()
	defer listener.Close()
	// The password is asked for by dialing, which so fails.
	q, _ := openQueue(t, Config{URL: "redis://:password@" + listener.Addr().String()})
	calls, begin := 0, time.Now()
	for deadline := begin.Add(time.Minute); (calls < 100 || dialed.Load() < 2) && time.Now().Before(deadline); calls++ {
		wantUnavailable(t, "push", q.Push(t.Context(), entry()))
	}
	most := 1 + int64(time.Since(begin)/dialPause)
	if n := dialed.Load(); n < 2 || n > most || calls < 100 {
		t.Errorf("%d calls have dialed %d times, want at most %d", calls, n, most)
	}
}

func TestQueue_AStalledConnectionFreesItsCaller(t *testing.T) {
	const timeout = time.Second
	proxy := startProxy(t, services.StartRedis(t).URL())
	q, _ := openQueue(t, Config{URL: proxy.url(), CallTimeout: timeout})
	if err := q.Push(t.Context(), entry()); err != nil {
		t.Fatal(err)
	}
	if _, err := q.Pull(t.Context(), request(1)); err != nil {
		t.Fatal(err)
	}
	within := func(what string, limit time.Duration, call func() error) {
		t.Helper()
		begin := time.Now()
		wantUnavailable(t, what, call())
		if took := time.Since(begin); took > limit {
			t.Errorf("%s took %v, want at most %v", what, took, limit)
		}
	}
	// Less than a second wait, and for the hurried less than a whole one.
	const margin = 900 * time.Millisecond
	now := request(1)
	now.Wait = 0
	proxy.stall(true)
	within("push on an open connection", timeout+margin, func() error { return q.Push(t.Context(), entry()) })
	within("push on a new connection", timeout+margin, func() error { return q.Push(t.Context(), entry()) })
	within("more callers than connections", timeout+margin, func() error {
		done := make(chan error)
		for range 3 * maxConnections {
			go func() { done <- q.pool.Probe(t.Context()) }()
		}
		var last error
		for range 3 * maxConnections {
			last = <-done
		}
		return last
	})
	within("many pushes at a time", timeout+margin, func() error {
		done := make(chan error)
		for range 100 {
			go func() { done <- q.Push(t.Context(), entry()) }()
		}
		var last error
		for range 100 {
			last = <-done
		}
		return last
	})
	within("push for a hurried caller", 50*time.Millisecond+margin, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		return q.Push(ctx, entry())
	})
	within("pull on an open connection", maxWait+timeout+margin, func() error { _, err := q.Pull(t.Context(), request(1)); return err })
	within("pull on a new connection", timeout+margin, func() error { _, err := q.Pull(t.Context(), request(1)); return err })
	within("pull without waiting on a new connection", timeout+margin, func() error { _, err := q.Pull(t.Context(), now); return err })
	proxy.stall(false)
	time.Sleep(dialPause)
	if err := q.Push(t.Context(), entry()); err != nil {
		t.Errorf("after the stall: %v", err)
	}
}

func TestQueue_APullIsFreedByItsContextOnAStalledConnection(t *testing.T) {
	proxy := startProxy(t, services.StartRedis(t).URL())
	q, _ := openQueue(t, Config{URL: proxy.url(), CallTimeout: 5 * time.Minute})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, func() { proxy.stall(true); cancel() })
	begin := time.Now()
	if got, err := q.Pull(ctx, request(1)); len(got) > 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("pulled %v, error %v", got, err)
	}
	if took := time.Since(begin); took > q.pool.target.limits.Unblock+time.Minute {
		t.Errorf("it took %v", took)
	}
}

func TestQueue_AServerThatRefusesWritesIsUnavailableForNow(t *testing.T) {
	server := services.StartRedis(t)
	q, _ := openQueue(t, Config{URL: server.URL()})
	do := func(command string, args ...any) {
		t.Helper()
		if _, err := q.pool.do(t.Context(), command, args...); err != nil {
			t.Fatal(err)
		}
	}
	do("CONFIG", "SET", "maxmemory", "1")
	other := entry()
	other.Queue = "other"
	wantUnavailable(t, "push to a full server", q.Push(t.Context(), entry()))
	wantUnavailable(t, "push of two lanes to a full server", q.Push(t.Context(), entry(), other))
	do("CONFIG", "SET", "maxmemory", "0")
	do("REPLICAOF", "127.0.0.1", "1")
	open := q.pool.calls.ActiveCount()
	wantUnavailable(t, "push to a replica", q.Push(t.Context(), entry()))
	if n := q.pool.calls.ActiveCount(); n != open-1 {
		t.Errorf("of %d connections %d are left: that to a replica is kept", open, n)
	}
	wantUnavailable(t, "push of two lanes to a replica", q.Push(t.Context(), entry(), other))
	_, err := q.Pull(t.Context(), request(1))
	wantUnavailable(t, "pull from a replica", err)
	if n := len(q.pool.blocking); n != 0 {
		t.Errorf("%d connections to a replica are kept for pulls", n)
	}
	do("REPLICAOF", "NO", "ONE")
	if err := q.Push(t.Context(), entry()); err != nil {
		t.Error(err)
	}
}

// openQueue opens a queue that writes its log to the buffer.
func openQueue(t testing.TB, cfg Config) (*Queue, *bytes.Buffer) {
	t.Helper()
	pool, closePool, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(closePool)
	var log bytes.Buffer
	return NewQueue(pool, slog.New(slog.NewTextHandler(&log, nil))), &log
}

// lane is the lane of entry.
var lane = application.Lane{Queue: domain.DefaultQueue}

func request(n int) application.PullRequest {
	return application.PullRequest{Queues: []domain.QueueName{domain.DefaultQueue}, Max: n, Wait: time.Minute}
}

func entry() application.Entry {
	now := domain.Moment(time.Now())
	return application.Entry{Lane: lane, ID: domain.NewTaskID(now), QueuedAt: now}
}

func wantUnavailable(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, domain.ErrUnavailable) {
		t.Errorf("%s: the error is %v, want %v", what, err, domain.ErrUnavailable)
	}
}

// commands is how many commands the server has done, this one not included.
func commands(t *testing.T, conn redigo.Conn) int {
	t.Helper()
	info, err := redigo.String(conn.Do("INFO", "stats"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(info, "total_commands_processed:")
	number, _, _ := strings.Cut(rest, "\r\n")
	n, err := strconv.Atoi(number)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
