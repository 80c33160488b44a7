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
	case h.failing() == nil:
		h.since = time.Time{}
	case h.since.IsZero():
		h.since = time.Now()
	}
}

// failing returns why the work fails; nil if it does not. Its caller holds mu.
func (h *health) failing() error {
	for _, kind := range []string{workProbe, workPush, workPull} {
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
	return h.since, h.failing()
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

// look pushes an entry to a list of its own and pulls it again.
func (p *Pool) look(ctx context.Context) {
	began := time.Now()
	p.health.probing.Lock()
	defer p.health.probing.Unlock()
	if p.health.probed(began) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.target.limits.Probe)
	defer cancel()
	key := p.key(probeKey)
	replies, err := p.pipeline(ctx, []command{
		{"RPUSH", []any{key, "probe"}},
		{"LMPOP", []any{2, key, p.key(probeKey + ":2"), "LEFT", "COUNT", maxPerCommand}},
	})
	for _, reply := range replies {
		if answer, ok := reply.(redigo.Error); ok && err == nil && !wrongType(answer) {
			err = translate(answer)
		}
	}
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
