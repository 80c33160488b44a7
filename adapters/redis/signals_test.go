package redis

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	redigo "github.com/gomodule/redigo/redis"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/contract"
	"github.com/millrace/millrace/test/services"
)

func TestSignals(t *testing.T) {
	contract.Signals(t, func(t *testing.T) application.Signals {
		s, _, _ := openSignals(t, Config{URL: services.Redis(t)})
		return s
	})
}

func TestSignals_ReachOtherProcessesOfTheSamePrefixAndNoOthers(t *testing.T) {
	url := services.StartRedis(t).URL()
	sender, _, _ := openSignals(t, Config{URL: url})
	same, _, _ := openSignals(t, Config{URL: url})
	other, _, _ := openSignals(t, Config{URL: url + "?prefix=other:"})
	heard, wrong := listen(t, same), listen(t, other)
	sender.Send(application.Signal{Kind: application.SignalStop, Tasks: []domain.TaskID{{1}}})
	if got := heard.next(t); got.Kind != application.SignalStop || len(got.Tasks) != 1 || got.Tasks[0] != (domain.TaskID{1}) {
		t.Errorf("heard %v", got)
	}
	other.Send(application.Signal{Kind: application.SignalChanged, Tasks: []domain.TaskID{{2}}})
	if got := wrong.next(t); got.Kind != application.SignalChanged {
		t.Errorf("another prefix has heard %v", got)
	}
}

func TestSignals_OneAfterAQuietMomentWaitsForNoPause(t *testing.T) {
	s, _, closeSignals := openSignals(t, Config{URL: services.StartRedis(t).URL()})
	s.pause = time.Hour
	l := listen(t, s)
	for i := range byte(3) {
		s.Send(application.Signal{Kind: application.SignalChanged, Tasks: []domain.TaskID{{i}}})
		if i == 0 {
			l.next(t) // the others come within the pause, which Close ends
		}
	}
	closeSignals()
	if got := l.next(t); len(got.Tasks) != 2 {
		t.Errorf("after a pause %v went out", got)
	}
}

func TestSignals_ManyShareMessages(t *testing.T) {
	server := services.StartRedis(t)
	s, _, _ := openSignals(t, Config{URL: server.URL()})
	l := listen(t, s)
	s.Send(application.Signal{Kind: application.SignalChanged, Tasks: []domain.TaskID{{1}}}) // connects
	l.next(t)
	conn, err := redigo.DialURL(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	before := commands(t, conn)
	const n = 3000
	begin := time.Now()
	for i := range n { // some thousands a second
		s.Send(application.Signal{Kind: application.SignalChanged, Tasks: []domain.TaskID{{byte(i), byte(i >> 8), 1}}})
		if i%10 == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	for heard := 0; heard < n; {
		heard += len(l.next(t).Tasks)
	}
	most := int(time.Since(begin)/publishPause) + n/maxSignalIDs + 2
	if sent := commands(t, conn) - before - 1; sent > most || sent > n/2 {
		t.Errorf("%d signals cost %d messages, want at most %d", n, sent, most)
	}
}

func TestSignals_AnIdleListenerIsOneCommandIn4Seconds(t *testing.T) {
	server := services.StartRedis(t)
	s, _, _ := openSignals(t, Config{URL: server.URL()})
	s.pingEvery, s.maxQuiet = s.pingEvery/4, s.maxQuiet/4
	l := listen(t, s)
	conn, err := redigo.DialURL(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	begin, before := time.Now(), commands(t, conn)
	time.Sleep(3*s.pingEvery + s.pingEvery/2) // longer than it may be quiet
	sent, most := commands(t, conn)-before-1, 1+int(time.Since(begin)/s.pingEvery)
	if sent < 2 || sent > most {
		t.Errorf("%d commands, want a ping every %v: 2 to %d", sent, s.pingEvery, most)
	}
	select {
	case err := <-l.ended:
		t.Errorf("the pings have not kept the connection: %v", err)
	default:
	}
}

func TestSignals_AStalledListenerIsNoticed(t *testing.T) {
	proxy := startProxy(t, services.StartRedis(t).URL())
	s, _, _ := openSignals(t, Config{URL: proxy.url()})
	if limit := s.maxQuiet; limit > 10*time.Second || s.pingEvery*2 > limit {
		t.Errorf("pings every %v, lost after %v", s.pingEvery, limit)
	}
	s.pingEvery, s.maxQuiet = s.pingEvery/4, s.maxQuiet/4
	l := listen(t, s)
	proxy.stall(true)
	begin := time.Now()
	wantUnavailable(t, "listen", l.end(t))
	if took := time.Since(begin); took > s.maxQuiet+time.Minute {
		t.Errorf("it took %v", took)
	}
	begin = time.Now()
	wantUnavailable(t, "listen on a new connection", s.Listen(t.Context(), func() {}, func(application.Signal) {}))
	if took := time.Since(begin); took > defaultCallTimeout+time.Minute {
		t.Errorf("it took %v", took)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Listen(ctx, func() {}, func(application.Signal) {}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("listen with a deadline: %v", err)
	}
}

func TestSignals_SurviveARestartOfTheirServer(t *testing.T) {
	server := services.StartRedis(t)
	s, log, closeSignals := openSignals(t, Config{URL: server.URL()})
	l := listen(t, s)
	send := func(n int) {
		s.Send(application.Signal{Kind: application.SignalChanged, Tasks: make([]domain.TaskID, n)})
	}
	send(1)
	l.next(t)
	server.Kill()
	wantUnavailable(t, "listen", l.end(t))
	wantUnavailable(t, "listen while it is away", s.Listen(t.Context(), func() {}, func(application.Signal) {}))
	begin := time.Now()
	for range 100 {
		send(maxUnsent / 10)
		time.Sleep(time.Millisecond)
	}
	if took := time.Since(begin); took > time.Minute { // not even half a time-out each
		t.Errorf("sending without a server took %v", took)
	}
	drained := func() {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * publishPause) {
			s.mu.Lock()
			left := len(s.unsent) + len(s.wake)
			s.mu.Unlock()
			if left == 0 {
				return
			}
			if time.Now().After(deadline) {
				t.Fatal("the buffer is not drained")
			}
		}
	}
	drained()
	s.wake <- struct{}{} // as when a round has drained what woke the next
	drained()
	send(1)
	drained()
	time.Sleep(5 * publishPause) // and has failed
	server.Start()
	time.Sleep(dialPause + 2*publishPause)
	l = listen(t, s)
	send(1)
	l.next(t)
	closeSignals()
	if text := log.String(); strings.Count(text, "level=WARN") != 1 || strings.Count(text, "level=INFO") != 1 || strings.Count(text, "\n") != 2 ||
		!strings.Contains(text, "signals cannot be published") || !strings.Contains(text, "signals can be published again") {
		t.Errorf("the log says %s", text)
	}
}

func TestSignals_WhatIsUnsentIsBoundedAndAFloodLeavesTheOtherKindItsRoom(t *testing.T) {
	proxy := startProxy(t, services.StartRedis(t).URL())
	proxy.stall(true)
	s, _, closeSignals := openSignals(t, Config{URL: proxy.url()})
	for range 5 * maxUnsent / 1000 {
		s.Send(application.Signal{Kind: application.SignalChanged, Tasks: make([]domain.TaskID, 1000)})
	}
	s.Send(application.Signal{Kind: application.SignalStop, Tasks: make([]domain.TaskID, 10)})
	s.mu.Lock()
	changed, stop, lost := len(s.unsent[application.SignalChanged]), len(s.unsent[application.SignalStop]), s.lost
	s.mu.Unlock()
	if changed != maxUnsent || stop != 10 || lost == 0 {
		t.Errorf("%d and %d ids are unsent, %d lost", changed, stop, lost)
	}
	begin := time.Now()
	closeSignals()
	if took := time.Since(begin); took > lastPublish+time.Minute {
		t.Errorf("closing took %v", took)
	}
	s.Send(application.Signal{Kind: application.SignalStop, Tasks: make([]domain.TaskID, 10)})
	if n := len(s.unsent); n != 0 {
		t.Errorf("%d kinds are unsent after closing", n)
	}
}

func TestSignals_ClosePublishesWhatIsUnsent(t *testing.T) {
	url := services.StartRedis(t).URL()
	other, _, _ := openSignals(t, Config{URL: url})
	l := listen(t, other)
	for range 20 {
		s, _, closeSignals := openSignals(t, Config{URL: url})
		s.Send(application.Signal{Kind: application.SignalStop, Tasks: []domain.TaskID{{1}}})
		s.Send(application.Signal{Kind: application.SignalStop, Tasks: []domain.TaskID{{2}}})
		closeSignals()
		for heard := 0; heard < 2; {
			heard += len(l.next(t).Tasks)
		}
	}
}

func TestSignals_DropWhatTheyCannotRead(t *testing.T) {
	s, log, closeSignals := openSignals(t, Config{URL: services.Redis(t)})
	l := listen(t, s)
	for _, text := range []string{"nonsense", "", "stop:x"} {
		if _, err := s.pool.do(t.Context(), "PUBLISH", s.channel(), text); err != nil {
			t.Fatal(err)
		}
	}
	s.Send(application.Signal{Kind: application.SignalStop, Tasks: []domain.TaskID{{1}}})
	if got := l.next(t); len(got.Tasks) != 1 {
		t.Errorf("heard %v", got)
	}
	closeSignals()
	if text := log.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "malformed") {
		t.Errorf("the log says %q", text)
	}
}

func TestLosses_AreReportedOnceAMinute(t *testing.T) {
	var text bytes.Buffer
	log := slog.New(slog.NewTextHandler(&text, nil))
	var l losses
	for range 10 {
		l.report(t.Context(), log, 5, nil)
	}
	l.reported = time.Now().Add(-2 * lossReport)
	l.report(t.Context(), log, 0, nil)
	l.report(t.Context(), log, 0, nil)
	if got := text.String(); strings.Count(got, "\n") != 2 || !strings.Contains(got, "lost=5\n") || !strings.Contains(got, "lost=45\n") {
		t.Errorf("the log says %s", got)
	}
}

// openSignals opens signals that write their log to the buffer, which may be
// read once they are closed and nobody listens.
func openSignals(t testing.TB, cfg Config) (*Signals, *bytes.Buffer, func()) {
	t.Helper()
	pool, closePool, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(closePool)
	var log bytes.Buffer
	s, closeSignals := NewSignals(pool, slog.New(slog.NewTextHandler(&log, nil)))
	t.Cleanup(closeSignals)
	return s, &log, closeSignals
}

// hearing is a call of Listen in the background.
type hearing struct {
	heard chan application.Signal
	ended chan error
}

// listen returns when the listener is ready; the test's end ends it.
func listen(t *testing.T, s *Signals) *hearing {
	t.Helper()
	h := &hearing{heard: make(chan application.Signal, 1000), ended: make(chan error, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	ready := make(chan struct{})
	var listening sync.WaitGroup
	listening.Go(func() {
		h.ended <- s.Listen(ctx, func() { close(ready) }, func(signal application.Signal) { h.heard <- signal })
	})
	t.Cleanup(func() { cancel(); listening.Wait() })
	select {
	case <-ready:
	case err := <-h.ended:
		t.Fatalf("listen: %v", err)
	}
	return h
}

func (h *hearing) next(t *testing.T) application.Signal {
	t.Helper()
	select {
	case s := <-h.heard:
		return s
	case <-time.After(time.Minute):
		t.Fatal("nothing is heard")
		return application.Signal{}
	}
}

// end waits until Listen returns by itself.
func (h *hearing) end(t *testing.T) error {
	t.Helper()
	select {
	case err := <-h.ended:
		return err
	case <-time.After(2 * time.Minute):
		t.Fatal("the listener does not end")
		return nil
	}
}
