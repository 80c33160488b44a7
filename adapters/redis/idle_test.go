package redis

import (
	"testing"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/services"
)

// A balancer closes connections on which nothing happens, and a server that was started
// again knows none of them.
func TestQueue_AnIdleConnectionThatWasClosedFailsNobody(t *testing.T) {
	server := services.StartRedis(t)
	for name, closeAll := range map[string]func(p *proxy){
		"ByABalancer": func(p *proxy) { p.drop() },
		"ByARestart":  func(*proxy) { server.Kill(); server.Start() },
	} {
		t.Run(name, func(t *testing.T) {
			proxy := startProxy(t, server.URL())
			q, _ := openQueue(t, Config{URL: proxy.url()})
			now := request(1)
			now.Wait = 0
			for range 5 {
				if err := q.Push(t.Context(), entry()); err != nil {
					t.Fatal(err)
				}
				if _, err := q.Pull(t.Context(), now); err != nil {
					t.Fatal(err)
				}
				closeAll(proxy)
				time.Sleep(20 * time.Millisecond) // until this side has heard of it
			}
		})
	}
}

func TestQueue_AConnectionThatIsClosedWhileItWaitsIsReplaced(t *testing.T) {
	proxy := startProxy(t, services.StartRedis(t).URL())
	q, _ := openQueue(t, Config{URL: proxy.url()})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for range 5 {
			time.Sleep(300 * time.Millisecond)
			proxy.drop()
		}
		if err := q.Push(t.Context(), entry()); err != nil {
			t.Error(err)
		}
	}()
	got, err := q.Pull(t.Context(), request(1))
	<-ended
	if err != nil || len(got) != 1 {
		t.Errorf("pulled %v, error %v, want the entry that came at last", got, err)
	}
}

func TestSignals_AQuietConnectionThatIsClosedIsReplaced(t *testing.T) {
	proxy := startProxy(t, services.StartRedis(t).URL())
	s, _, _ := openSignals(t, Config{URL: proxy.url()})
	s.leastQuiet = 50 * time.Millisecond
	l := listen(t, s)
	for range 3 {
		time.Sleep(2 * s.leastQuiet)
		proxy.drop()
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		s.Send(application.Signal{Kind: application.SignalChanged, Tasks: []domain.TaskID{{1}}})
		select {
		case <-l.heard:
			return
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatal("nothing is heard any more")
		}
	}
}
