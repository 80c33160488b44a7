package contract

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

func signalIDs(n int) []domain.TaskID {
	ids := make([]domain.TaskID, n)
	for i := range ids {
		ids[i] = domain.NewTaskID(time.Now())
	}
	return ids
}

// signalListener listens in the background and remembers what it hears.
type signalListener struct {
	cancel context.CancelFunc
	ended  chan error

	mu    sync.Mutex
	heard map[application.SignalKind]map[domain.TaskID]int
	news  chan struct{} // holds a token after a change of heard
}

// listenToSignals returns when the listener is ready; the test's end ends it.
func listenToSignals(t *testing.T, s application.Signals) *signalListener {
	t.Helper()
	l := &signalListener{heard: map[application.SignalKind]map[domain.TaskID]int{}, news: make(chan struct{}, 1)}
	l.cancel, l.ended = listenWith(t, s, func(signal application.Signal) {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.heard[signal.Kind] == nil {
			l.heard[signal.Kind] = map[domain.TaskID]int{}
		}
		for _, id := range signal.Tasks {
			l.heard[signal.Kind][id]++
		}
		select {
		case l.news <- struct{}{}:
		default:
		}
	})
	return l
}

// listenWith calls Listen in the background and returns when it is ready.
func listenWith(t *testing.T, s application.Signals, hear func(application.Signal)) (context.CancelFunc, chan error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan struct{}), make(chan error, 1)
	var listening sync.WaitGroup
	listening.Go(func() { ended <- s.Listen(ctx, func() { close(ready) }, hear) })
	t.Cleanup(func() { cancel(); listening.Wait() })
	select {
	case <-ready:
	case err := <-ended:
		t.Fatalf("listen: %v", err)
	case <-time.After(signalLimit):
		t.Fatal("the listener does not get ready")
	}
	return cancel, ended
}

// wait waits until all of the ids have been heard.
func (l *signalListener) wait(t *testing.T, kind application.SignalKind, ids []domain.TaskID) {
	t.Helper()
	limit := time.After(signalLimit)
	for {
		missing := l.missing(kind, ids)
		if missing == 0 {
			return
		}
		select {
		case <-l.news:
		case err := <-l.ended:
			t.Fatalf("the listener has ended: %v", err)
		case <-limit:
			t.Fatalf("%d of %d ids with the kind %q have not arrived", missing, len(ids), kind)
		}
	}
}

func (l *signalListener) missing(kind application.SignalKind, ids []domain.TaskID) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	missing := 0
	for _, id := range ids {
		if l.heard[kind][id] == 0 {
			missing++
		}
	}
	return missing
}

// wantOnly checks that nothing else has been heard with the kind.
func (l *signalListener) wantOnly(t *testing.T, kind application.SignalKind, ids []domain.TaskID) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.heard[kind]); n != len(ids) {
		t.Errorf("%d ids have arrived with the kind %q, want %d", n, kind, len(ids))
	}
}

// end ends the listener and waits for it.
func (l *signalListener) end(t *testing.T) {
	t.Helper()
	l.cancel()
	select {
	case err := <-l.ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("listen has ended with %v", err)
		}
	case <-time.After(signalLimit):
		t.Fatal("the listener does not end")
	}
}

// blockedListener starts a listener that is stuck in hear until it is released.
func blockedListener(t *testing.T, s application.Signals) (release func()) {
	t.Helper()
	stuck, released := make(chan struct{}), make(chan struct{})
	var once sync.Once
	free := sync.OnceFunc(func() { close(released) })
	listenWith(t, s, func(application.Signal) {
		once.Do(func() { close(stuck) })
		<-released
	})
	t.Cleanup(free) // before the listener is waited for
	s.Send(application.Signal{Kind: application.SignalStop, Tasks: signalIDs(1)})
	select {
	case <-stuck:
	case <-time.After(signalLimit):
		t.Fatal("the listener has heard nothing")
	}
	return free
}

// sendMany sends more than any buffer holds, and checks that it does not take long.
func sendMany(t *testing.T, s application.Signals) {
	t.Helper()
	ids := signalIDs(100)
	begin := time.Now()
	for range 5_000 {
		s.Send(application.Signal{Kind: application.SignalChanged, Tasks: ids})
	}
	if took := time.Since(begin); took > signalLimit {
		t.Errorf("sending took %v", took)
	}
}
