package telemetry

import (
	"context"
	"sync"
	"time"
)

const (
	// sampleAge is how long a sample serves everyone who asks.
	sampleAge = 5 * time.Second
	// sampleShare: sampling takes at most one part in so many of the time.
	sampleShare = 20
	// sampleWait is how long who asks waits for a new sample, if the last one came in that time.
	sampleWait = time.Second
	// sampleTimeout ends the taking of a sample.
	sampleTimeout = 5 * time.Second
	// sampleOverdue is how long a sample is shown once it is time for another: until somebody
	// asks for that, and it has come.
	sampleOverdue = 25 * time.Second
)

// shared takes a sample when somebody asks for one, at most one in sampleAge however
// many ask. It is safe for concurrent use.
type shared[T any] struct {
	take func(ctx context.Context) (T, error)

	mu     sync.Mutex
	last   T
	shown  time.Time     // until when last is shown; zero: there is none
	next   time.Time     // no sample is taken before
	taking chan struct{} // closed when the sample that is being taken has come, or failed; nil: none is
	late   bool          // the last one was, or failed
}

// get returns the latest sample, unless there is none that is young enough.
func (s *shared[T]) get() (T, bool) {
	came := true
	if wait := s.begin(); wait != nil {
		select {
		case <-wait:
		case <-time.After(sampleWait):
			came = false
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !came && s.taking != nil { // nobody else is to wait for it
		s.late = true
	}
	if time.Now().After(s.shown) {
		var none T
		return none, false
	}
	return s.last, true
}

// begin begins to take a sample if it is time, and returns what to wait for; nil: nothing
// is worth it.
func (s *shared[T]) begin() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taking == nil && !time.Now().Before(s.next) {
		s.taking = make(chan struct{})
		go s.sample(s.taking)
	}
	if s.late {
		return nil
	}
	return s.taking
}

func (s *shared[T]) sample(done chan struct{}) {
	defer close(done)
	begun := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), sampleTimeout)
	defer cancel()
	got, err := s.take(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next = begun.Add(max(sampleAge, sampleShare*time.Since(begun)))
	s.taking, s.late = nil, err != nil || time.Since(begun) > sampleWait
	if err == nil {
		s.last, s.shown = got, s.next.Add(sampleOverdue)
	}
}
