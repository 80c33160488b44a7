package redis

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	redigo "github.com/gomodule/redigo/redis"

	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/services"
)

func TestPool_PasswordAndDatabase(t *testing.T) {
	server := services.StartRedis(t)
	admin, _ := openQueue(t, Config{URL: server.URL()})
	if _, err := admin.pool.do(t.Context(), "CONFIG", "SET", "requirepass", "right:one"); err != nil {
		t.Fatal(err)
	}
	at := strconv.Itoa(server.Port)
	for url, works := range map[string]bool{
		"redis://:right%3Aone@127.0.0.1:" + at + "/3":        true,
		"redis://default:right%3Aone@127.0.0.1:" + at + "/3": true,
		"redis://right%3Aone@127.0.0.1:" + at + "/3":         true,
		"redis://:wrong-one@127.0.0.1:" + at:                 false,
		"redis://127.0.0.1:" + at:                            false,
	} {
		q, _ := openQueue(t, Config{URL: url})
		err := q.Push(t.Context(), entry())
		if works && err != nil {
			t.Errorf("%s: %v", url, err)
		}
		if !works && (!errors.Is(err, domain.ErrUnavailable) || strings.Contains(err.Error(), "wrong-one")) {
			t.Errorf("%s: the error is %v", url, err)
		}
	}
	keys, err := redigo.Strings(admin.pool.do(t.Context(), "KEYS", "*"))
	if err != nil || len(keys) > 0 {
		t.Errorf("database 0 has %v, error %v: they went to database 3", keys, err)
	}
}

func TestPool_ManyCallersShareABoundedNumberOfConnections(t *testing.T) {
	q, _ := openQueue(t, Config{URL: services.StartRedis(t).URL()})
	done := make(chan error)
	for range 500 {
		go func() { done <- q.Push(t.Context(), entry()) }()
	}
	for range 500 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	clients, err := redigo.String(q.pool.do(t.Context(), "CLIENT", "LIST"))
	if n := strings.Count(clients, "\n"); err != nil || n > maxConnections {
		t.Errorf("%d connections, error %v", n, err)
	}
}
