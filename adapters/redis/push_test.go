package redis

import (
	"sync"
	"testing"
	"time"

	redigo "github.com/gomodule/redigo/redis"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/test/services"
)

func TestPush_OfConcurrentCallersSharesCommandsAndKeepsTheirOrder(t *testing.T) {
	server := services.StartRedis(t)
	q, _ := openQueue(t, Config{URL: server.URL()})
	conn, err := redigo.DialURL(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const callers, pushes = 64, 50
	if err := q.Push(t.Context(), entry()); err != nil { // connects
		t.Fatal(err)
	}
	if _, err := q.Pull(t.Context(), request(1)); err != nil {
		t.Fatal(err)
	}
	before := commands(t, conn)
	pushed := make([][]application.Entry, callers)
	var calls sync.WaitGroup
	for i := range pushed {
		for range pushes {
			pushed[i] = append(pushed[i], entry())
		}
		calls.Go(func() {
			for _, e := range pushed[i] {
				if err := q.Push(t.Context(), e); err != nil {
					t.Error(err)
				}
			}
		})
	}
	calls.Wait()
	if sent := commands(t, conn) - before; sent > callers*pushes/4 {
		t.Errorf("%d pushes of %d callers were %d commands", callers*pushes, callers, sent)
	}
	got, err := q.Pull(t.Context(), request(callers*pushes+1))
	if err != nil || len(got) != callers*pushes {
		t.Fatalf("pulled %d entries, error %v; pushed %d", len(got), err, callers*pushes)
	}
	place := make(map[application.Entry]int, len(got))
	for i, e := range got {
		place[e] = i + 1
	}
	for i, entries := range pushed {
		last := 0
		for n, e := range entries {
			if place[e] <= last {
				t.Fatalf("push %d of caller %d is at place %d, that before it at %d", n, i, place[e], last)
			}
			last = place[e]
		}
	}
}

func TestPush_AKeyThatIsNoListFailsNobodyElse(t *testing.T) {
	proxy := startProxy(t, services.StartRedis(t).URL())
	q, _ := openQueue(t, Config{URL: proxy.url()})
	bad, good := entry(), entry()
	bad.Queue = "bad"
	if _, err := q.pool.do(t.Context(), "SET", q.key(bad.Lane), "not a list"); err != nil {
		t.Fatal(err)
	}
	proxy.stall(true)
	var calls sync.WaitGroup
	for _, e := range []application.Entry{entry(), bad, good} {
		calls.Go(func() {
			if err := q.Push(t.Context(), e); err != nil {
				t.Error(err)
			}
		})
	}
	time.Sleep(50 * time.Millisecond) // until one is under way and the others wait
	proxy.stall(false)
	calls.Wait()
	if got, err := q.Pull(t.Context(), request(10)); err != nil || len(got) != 2 {
		t.Errorf("pulled %v, error %v; want what belongs to the lane", got, err)
	}
}
