package redis

import (
	"errors"
	"strings"
	"testing"
	"time"

	redigo "github.com/gomodule/redigo/redis"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/contract"
	"github.com/millrace/millrace/test/services"
)

// rights are those that docs/operations.md lists.
const rights = "~millrace:* &millrace:* +ping +client|id +client|unblock +rpush +lpush +lindex +lrem +type +blmpop +lmpop +publish +subscribe"

// restrict makes a user who has these rights and no others, and returns its URL.
func restrict(t *testing.T, server *services.RedisServer, rights string) string {
	t.Helper()
	admin, err := redigo.DialURL(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	args := redigo.Args{"SETUSER", "worker", "reset", "on", ">secret"}
	if _, err := admin.Do("ACL", args.AddFlat(strings.Fields(rights))...); err != nil {
		t.Fatal(err)
	}
	return strings.Replace(server.URL(), "redis://", "redis://worker:secret@", 1)
}

func TestQueue_NeedsTheListedRightsAndNoOthers(t *testing.T) {
	contract.Queue(t, func(t *testing.T) application.Queue {
		q, _ := openQueue(t, Config{URL: restrict(t, services.StartRedis(t), rights)})
		if err := q.pool.Check(t.Context()); err != nil {
			t.Error(err)
		}
		return q
	})
}

func TestCheck_NamesWhatARedisLacks(t *testing.T) {
	server := services.StartRedis(t)
	without := func(words ...string) string {
		left := rights
		for _, word := range words {
			left = strings.Replace(left, " "+word, "", 1)
		}
		return restrict(t, server, left)
	}
	for name, c := range map[string]struct {
		url   func() string
		names []string
	}{
		"ACommand":    {func() string { return without("+lmpop", "+publish") }, []string{"LMPOP, PUBLISH", "NOPERM"}},
		"ASubcommand": {func() string { return without("+client|unblock") }, []string{"CLIENT UNBLOCK"}},
		"TheKeys":     {func() string { return without() + "?prefix=other:" }, []string{"RPUSH", "SUBSCRIBE"}},
		"ThePassword": {func() string { return strings.Replace(without(), "secret", "wrong", 1) }, []string{"password"}},
		"TheDatabase": {func() string { return server.URL() + "/99" }, []string{"database"}},
		"NoCluster":   {func() string { return startCluster(t) }, []string{"not in cluster mode"}},
	} {
		t.Run(name, func(t *testing.T) {
			q, _ := openQueue(t, Config{URL: c.url()})
			refused, ok := errors.AsType[*RefusedError](q.pool.Check(t.Context()))
			if !ok {
				t.Fatal("the check refuses nothing")
			}
			for _, want := range c.names {
				if text := refused.Error(); !strings.Contains(text, want) || strings.Contains(text, "\n") {
					t.Errorf("the error %q does not say %q in one line", text, want)
				}
			}
		})
	}
}

// startCluster starts a Redis in cluster mode that has all slots.
func startCluster(t *testing.T) string {
	t.Helper()
	server := services.StartRedis(t, "--cluster-enabled", "yes")
	admin, err := redigo.DialURL(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	if _, err := admin.Do("CLUSTER", "ADDSLOTSRANGE", 0, 16383); err != nil {
		t.Fatal(err)
	}
	return server.URL()
}

func TestCheck_AServerThatIsAwayOrCannotServeNowIsUnavailable(t *testing.T) {
	server := services.StartRedis(t)
	q, _ := openQueue(t, Config{URL: server.URL()})
	if _, err := q.pool.do(t.Context(), "CONFIG", "SET", "maxmemory", "1"); err != nil {
		t.Fatal(err)
	}
	wantUnavailable(t, "check of a full server", q.pool.Check(t.Context()))
	server.Kill()
	wantUnavailable(t, "check of no server", q.pool.Check(t.Context()))
}

func TestProbe_SaysWhatTheWorkExperiences(t *testing.T) {
	server := services.StartRedis(t)
	q, _ := openQueue(t, Config{URL: server.URL()})
	do := func(command string, args ...any) {
		t.Helper()
		if _, err := q.pool.do(t.Context(), command, args...); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct{ breakIt, mendIt []any }{
		"OOM":      {[]any{"CONFIG", "SET", "maxmemory", "1"}, []any{"CONFIG", "SET", "maxmemory", "0"}},
		"READONLY": {[]any{"REPLICAOF", "127.0.0.1", "1"}, []any{"REPLICAOF", "NO", "ONE"}},
		"NOPERM":   {[]any{"ACL", "SETUSER", "default", "-rpush"}, []any{"ACL", "SETUSER", "default", "+rpush"}},
	} {
		time.Sleep(probeLife)
		if err := q.pool.Probe(t.Context()); err != nil {
			t.Fatal(err)
		}
		do(c.breakIt[0].(string), c.breakIt[1:]...)
		time.Sleep(probeLife)
		err := q.pool.Probe(t.Context())
		wantUnavailable(t, "probe", err)
		if public := domain.Public(err); public.Code != domain.CodeUnavailable || !strings.Contains(public.Message, name) {
			t.Errorf("%s is shown as %q", name, public.Message)
		}
		if err := q.pool.Lasting().Probe(t.Context()); err != nil {
			t.Errorf("%s has not lasted: %v", name, err)
		}
		q.pool.health.since = time.Now().Add(-lasting)
		if err := q.pool.Lasting().Probe(t.Context()); err == nil {
			t.Errorf("%s has lasted", name)
		}
		do(c.mendIt[0].(string), c.mendIt[1:]...)
	}
}

// What a program asks of Redis in order to look at it must be what its work asks.
func TestProbe_TriesTheCommandsOfTheWork(t *testing.T) {
	server := services.StartRedis(t)
	q, _ := openQueue(t, Config{URL: server.URL()})
	allow := func(command string) {
		t.Helper()
		if _, err := q.pool.do(t.Context(), "ACL", "SETUSER", "default", command); err != nil {
			t.Fatal(err)
		}
		q.pool.health.kinds = map[string]*experience{}
	}
	for _, command := range []string{"rpush", "lindex", "blmpop", "lmpop", "publish"} {
		queue, signals := q.pool.Probe(t.Context()), q.pool.Signals().Probe(t.Context())
		if queue != nil || signals != nil {
			t.Errorf("with all rights: %v, %v", queue, signals)
		}
		allow("-" + command)
		queue, signals = q.pool.Probe(t.Context()), q.pool.Signals().Probe(t.Context())
		failed, works := queue, signals
		if command == "publish" {
			failed, works = signals, queue
		}
		if !strings.Contains(domain.Public(failed).Message, "'"+command+"'") || works != nil {
			t.Errorf("without %s: %v; the other probe: %v", command, failed, works)
		}
		allow("+" + command)
	}
}

// A lane that cannot be pushed to is seen by no probe: the last push tells.
func TestProbe_SaysThatTheLastPushesFailed(t *testing.T) {
	server := services.StartRedis(t)
	url := restrict(t, server, strings.Replace(rights, "~millrace:*", "~millrace:probe*", 1))
	q, _ := openQueue(t, Config{URL: url})
	if err := q.pool.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantUnavailable(t, "push", q.Push(t.Context(), entry()))
	wantUnavailable(t, "probe", q.pool.Probe(t.Context()))
	q.pool.health.kinds[workPush].at = time.Now().Add(-failureAge)
	if err := q.pool.Probe(t.Context()); err != nil {
		t.Errorf("long after: %v", err)
	}
}
