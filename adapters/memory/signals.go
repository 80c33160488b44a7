package memory

import (
	"context"
	"slices"
	"sync"

	"github.com/millrace/millrace/application"
)

var _ application.Signals = (*Signals)(nil)

// maxUnheard bounds the ids that wait for a listener which does not keep up; it does not
// hear those beyond.
const maxUnheard = 1 << 16

// Signals carries signals inside the process. It never fails.
type Signals struct {
	mu        sync.Mutex
	listeners map[*listener]struct{}
}

// listener is one call of Listen, with the signals that it has not heard yet.
type listener struct {
	unheard []application.Signal
	ids     int           // in unheard
	wake    chan struct{} // holds a token after a change of unheard
}

// NewSignals makes signals that nobody listens to yet.
func NewSignals() *Signals { return &Signals{listeners: map[*listener]struct{}{}} }

// Send hands the signal to all who listen. It waits for none of them.
func (s *Signals) Send(signal application.Signal) {
	signal.Tasks = slices.Clone(signal.Tasks) // the sender may change its slice
	s.mu.Lock()
	defer s.mu.Unlock()
	for l := range s.listeners {
		if l.ids+len(signal.Tasks) > maxUnheard {
			continue
		}
		l.unheard = append(l.unheard, signal)
		l.ids += len(signal.Tasks)
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

// Listen calls hear for every signal until ctx ends, and returns ctx's error.
func (s *Signals) Listen(ctx context.Context, ready func(), hear func(application.Signal)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	l := &listener{wake: make(chan struct{}, 1)}
	s.mu.Lock()
	s.listeners[l] = struct{}{}
	s.mu.Unlock()
	defer s.forget(l)
	ready()
	for {
		select {
		case <-l.wake:
		case <-ctx.Done():
			return ctx.Err()
		}
		for _, signal := range s.drain(l) {
			if err := ctx.Err(); err != nil {
				return err
			}
			hear(signal)
		}
	}
}

func (s *Signals) drain(l *listener) []application.Signal {
	s.mu.Lock()
	defer s.mu.Unlock()
	unheard := l.unheard
	l.unheard, l.ids = nil, 0
	return unheard
}

func (s *Signals) forget(l *listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, l)
}
