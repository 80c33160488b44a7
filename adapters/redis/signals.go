package redis

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

var _ application.Signals = (*Signals)(nil)

const (
	signalChannel = "signals"
	// maxUnsent bounds the ids of one kind that wait to be published; more are dropped.
	// Each kind has its own bound, so that a flood of one does not crowd out the other.
	maxUnsent = 1 << 15
	// publishPause is the least time between two rounds of publishing. A single signal is
	// published at once; of thousands a second, those within a pause share a message.
	publishPause = 10 * time.Millisecond
	lastPublish  = time.Second // for what is unsent when the signals are closed
	lossReport   = time.Minute // the least time between two log lines about a full buffer

	pingEvery  = 4 * time.Second // one command in 4 seconds from a listener
	maxSilence = 8 * time.Second // without even a reply to a ping, the connection is lost
	leastQuiet = time.Second     // a subscription that is closed sooner has failed
)

// Signals carries signals over one Redis publish/subscribe channel. An outage of Redis
// loses signals and nothing else.
type Signals struct {
	pool                *Pool
	log                 *slog.Logger
	pause               time.Duration // publishPause
	pingEvery, maxQuiet time.Duration
	leastQuiet          time.Duration

	mu     sync.Mutex
	unsent map[application.SignalKind][]domain.TaskID
	lost   int // ids, since the last report
	closed bool
	wake   chan struct{} // holds a token while there are any unsent
}

// NewSignals makes Signals and the function that closes them, which publishes what is
// unsent within a second. A call of Listen ends with its own context.
func NewSignals(pool *Pool, log *slog.Logger) (*Signals, func()) {
	s := &Signals{
		pool: pool, log: log, pause: publishPause, pingEvery: pingEvery, maxQuiet: maxSilence, leastQuiet: leastQuiet,
		unsent: map[application.SignalKind][]domain.TaskID{}, wake: make(chan struct{}, 1),
	}
	ctx, cancel := context.WithCancel(context.Background())
	closing := make(chan struct{})
	var publishing sync.WaitGroup
	publishing.Go(func() { s.publishAll(ctx, closing) })
	return s, sync.OnceFunc(func() {
		s.close()
		close(closing)
		limit := time.AfterFunc(lastPublish, cancel)
		publishing.Wait()
		limit.Stop()
		cancel()
	})
}

func (s *Signals) channel() string { return s.pool.key(signalChannel) }

// Send queues the signal for publishing. When the buffer is full, it is dropped.
func (s *Signals) Send(signal application.Signal) {
	if len(signal.Tasks) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	unsent := s.unsent[signal.Kind]
	n := min(len(signal.Tasks), maxUnsent-len(unsent))
	if s.closed {
		n = 0
	}
	s.lost += len(signal.Tasks) - n
	if n == 0 {
		return
	}
	s.unsent[signal.Kind] = append(unsent, signal.Tasks[:n]...)
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *Signals) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}

func (s *Signals) drain() map[application.SignalKind][]domain.TaskID {
	s.mu.Lock()
	defer s.mu.Unlock()
	unsent := s.unsent
	s.unsent = map[application.SignalKind][]domain.TaskID{}
	return unsent
}

// publishAll publishes what is sent until closing is closed, and then what remains.
func (s *Signals) publishAll(ctx context.Context, closing <-chan struct{}) {
	var r losses
	for open := true; open; {
		select {
		case <-s.wake:
		case <-closing:
			open = false
		}
		if unsent := s.drain(); len(unsent) > 0 { // else an earlier round published them
			lost, err := s.publish(ctx, unsent)
			r.report(ctx, s.log, lost+s.drainLost(), err)
		}
		if open {
			select {
			case <-time.After(s.pause):
			case <-closing:
			}
		}
	}
}

// publish publishes one round. After a failure it drops the rest, and returns the number
// of ids that were dropped.
func (s *Signals) publish(ctx context.Context, unsent map[application.SignalKind][]domain.TaskID) (lost int, failed error) {
	for kind, ids := range unsent {
		for chunk := range slices.Chunk(ids, maxSignalIDs) {
			if failed == nil {
				_, failed = s.pool.do(ctx, "PUBLISH", s.channel(), encodeSignal(application.Signal{Kind: kind, Tasks: chunk}))
			}
			if failed != nil {
				lost += len(chunk)
			}
		}
	}
	s.pool.health.note(workSignal, failed)
	return lost, failed
}

func (s *Signals) drainLost() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.lost
	s.lost = 0
	return n
}

// losses logs that publishing begins to fail, that it works again, and at most once a
// minute how many ids were dropped because the buffer was full.
type losses struct {
	failing  bool
	lost     int
	reported time.Time
}

func (l *losses) report(ctx context.Context, log *slog.Logger, lost int, err error) {
	l.lost += lost
	switch {
	case err != nil:
		if !l.failing {
			log.WarnContext(ctx, "signals cannot be published and are dropped", "error", err)
		}
		l.failing = true
		return
	case l.failing:
		log.InfoContext(ctx, "signals can be published again", "lost", l.lost)
	case l.lost > 0 && time.Since(l.reported) > lossReport:
		log.WarnContext(ctx, "signals dropped: the buffer is full", "lost", l.lost)
	default:
		return
	}
	l.failing, l.lost, l.reported = false, 0, time.Now()
}
