package memory

import (
	"context"
	"sync"
	"testing"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/contract"
)

func TestSignals(t *testing.T) {
	contract.Signals(t, func(t *testing.T) application.Signals {
		s := NewSignals()
		t.Cleanup(func() { // the listeners have ended by then
			if n := len(s.listeners); n != 0 {
				t.Errorf("%d listeners are not forgotten", n)
			}
		})
		return s
	})
}

func TestSignals_AListenerThatDoesNotKeepUpHasABoundedBacklog(t *testing.T) {
	s := NewSignals()
	hearing, release := make(chan struct{}), make(chan struct{})
	var listening sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	listening.Go(func() {
		first := sync.OnceFunc(func() { close(hearing) })
		_ = s.Listen(ctx, func() { s.Send(application.Signal{}) }, func(application.Signal) { first(); <-release })
	})
	<-hearing // it takes nothing more
	for range 3 * maxUnheard / 1000 {
		s.Send(application.Signal{Kind: application.SignalChanged, Tasks: make([]domain.TaskID, 1000)})
	}
	s.mu.Lock()
	for l := range s.listeners {
		if l.ids > maxUnheard || l.ids < maxUnheard-1000 {
			t.Errorf("%d ids are kept for the listener, want close to %d", l.ids, maxUnheard)
		}
	}
	s.mu.Unlock()
	close(release)
	cancel()
	listening.Wait()
}
