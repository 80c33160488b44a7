package redis

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	redigo "github.com/gomodule/redigo/redis"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

var _ application.Probe = (*Pool)(nil)

const (
	// failureAge: a failed push or pull that nobody has repeated for so long says nothing
	// of now. Loops repeat theirs every few seconds.
	failureAge = 10 * time.Second
	// probeLife: a look that succeeded answers all probes within it.
	probeLife = 500 * time.Millisecond
	// lasting is how long the queue may fail before a program that needs it is unready.
	lasting = 10 * time.Second
	// maxReason bounds what is shown of an answer of Redis.
	maxReason = 200
)

// The kinds of work whose last outcome the health knows.
const (
	workPush  = "push"
	workPull  = "pull"
	workProbe = "probe"
	// workSignal is apart from the others: signals are hints, and tasks run without them.
	workSignal = "signal"
)

// health is what the work on Redis has last experienced, by kind.
type health struct {
	mu    sync.Mutex
	kinds map[string]*experience
	since time.Time // when it began to fail; zero: it does not

	probing sync.Mutex // one probe at a time
}

type experience struct {
	err error // nil: it succeeded
	at  time.Time
}

func newHealth() *health { return &health{kinds: map[string]*experience{}} }

// note records an outcome. A caller that gave up has experienced nothing.
func (h *health) note(kind string, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.kinds[kind] = &experience{err, time.Now()}
	switch {
	case h.failing(queueWork...) == nil:
		h.since = time.Time{}
	case h.since.IsZero():
		h.since = time.Now()
	}
}

// queueWork is what tasks need in order to run.
var queueWork = []string{workProbe, workPush, workPull}

// failing returns why the work of those kinds fails; nil if it does not. Its caller holds mu.
func (h *health) failing(kinds ...string) error {
	for _, kind := range kinds {
		e := h.kinds[kind]
		if e != nil && e.err != nil && time.Since(e.at) < failureAge {
			return fmt.Errorf("%s: %w", kind, e.err)
		}
	}
	return nil
}

// state returns since when the work fails, and why.
func (h *health) state() (since time.Time, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.since, h.failing(queueWork...)
}

// probed reports whether the last look answers a probe that began at the given time.
func (h *health) probed(began time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	e := h.kinds[workProbe]
	return e != nil && (e.at.After(began) || e.err == nil && time.Since(e.at) < probeLife)
}

// Probe tells, within Limits.Probe, whether Redis accepts what the queue needs: whether the
// last pushes and pulls succeeded, and whether an entry can be pushed and pulled now.
// Its error is a domain.ErrUnavailable with the reason.
func (p *Pool) Probe(ctx context.Context) error {
	p.look(ctx)
	_, err := p.health.state()
	return reason(err)
}

// Lasting is the Probe of a program that cannot work without the queue: it fails when the
// queue has failed for ten seconds.
func (p *Pool) Lasting() application.Probe { return lastingProbe{p} }

type lastingProbe struct{ pool *Pool }

// Probe tells whether the queue has failed for long.
func (l lastingProbe) Probe(ctx context.Context) error {
	l.pool.look(ctx)
	since, err := l.pool.health.state()
	if err == nil || time.Since(since) < lasting {
		return nil
	}
	return reason(err)
}

// Signals is the Probe of what makes tasks end and stop sooner: it fails while signals
// cannot be published.
func (p *Pool) Signals() application.Probe { return signalProbe{p} }

type signalProbe struct{ pool *Pool }

// Probe tells whether signals can be published. If all of Redis fails, Pool.Probe says so.
func (s signalProbe) Probe(ctx context.Context) error {
	s.pool.look(ctx)
	s.pool.health.mu.Lock()
	defer s.pool.health.mu.Unlock()
	return reason(s.pool.health.failing(workSignal))
}

// look does what the work does, with the same commands: it pushes an entry to a list of its
// own, reads its head and pulls it again, and publishes a signal that listeners skip.
func (p *Pool) look(ctx context.Context) {
	began := time.Now()
	p.health.probing.Lock()
	defer p.health.probing.Unlock()
	if p.health.probed(began) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.target.limits.Probe)
	defer cancel()
	key, other := p.key(probeKey), p.key(probeKey+":2")
	replies, err := p.pipeline(ctx, []command{
		{"RPUSH", []any{key, "probe"}},
		{"LINDEX", []any{key, 0}},
		{"BLMPOP", []any{leastWait.Seconds(), 2, key, other, "LEFT", "COUNT", maxPerCommand}},
		{"LMPOP", []any{2, key, other, "LEFT", "COUNT", maxPerCommand}},
		{"PUBLISH", []any{p.key(signalChannel), probeSignal}},
	})
	signal := err
	for i, reply := range replies {
		answer, refused := reply.(redigo.Error)
		switch {
		case !refused || wrongType(answer):
		case i == len(replies)-1:
			signal = translate(answer)
		case err == nil:
			err = translate(answer)
		}
	}
	p.health.note(workSignal, signal)
	p.health.note(workProbe, err)
}

// reason makes the reason of err public.
func reason(err error) error {
	if err == nil {
		return nil
	}
	return &failure{domain.Errorf(domain.CodeUnavailable, "%s", explain(err)), err}
}

// explain says what fails, in one line: what Redis has answered, or that it does not.
func explain(err error) string {
	answer, ok := errors.AsType[redigo.Error](err)
	if !ok {
		return "Redis does not answer"
	}
	text := string(answer)
	if inCluster(answer) {
		return "Redis is in cluster mode, which is not supported: " + text[:min(len(text), maxReason)]
	}
	return "Redis refuses: " + text[:min(len(text), maxReason)]
}

// failure is an error with a public reason.
type failure struct {
	reason *domain.Error
	cause  error
}

func (f *failure) Error() string   { return f.reason.Message + " (" + f.cause.Error() + ")" }
func (f *failure) Unwrap() []error { return []error{f.reason, domain.ErrUnavailable, f.cause} }
