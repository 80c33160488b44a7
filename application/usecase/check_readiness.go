package usecase

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// Health is how well a program, or a part of it, can do its work.
type Health string

// The degrees of health. A degraded program works, but not fully: it accepts
// tasks while the queue is away, say.
const (
	HealthReady    Health = "ready"
	HealthDegraded Health = "degraded"
	HealthUnready  Health = "unready"
	HealthStopping Health = "stopping"
)

// NamedProbe is a Probe and what its failure means.
type NamedProbe struct {
	Name  string
	Probe application.Probe
	Needs bool // without it the program is unready, else degraded
}

// Readiness is the outcome of all probes.
type Readiness struct {
	Health Health
	Checks map[string]error // by probe; nil: it answers
}

// CheckReadiness tells whether a program can do its work. It cannot while it is held,
// or a probe fails that it Needs: a server's, a worker's own, or one of Experience
// (experience.go), which says what work has to fail for how long. Each program has its list
// of probes in bootstrap/providers.go.
type CheckReadiness struct {
	probes   []NamedProbe
	held     atomic.Bool
	stopping atomic.Bool
}

// NewCheckReadiness makes the use case.
func NewCheckReadiness(probes ...NamedProbe) *CheckReadiness {
	return &CheckReadiness{probes: probes}
}

// errStarting is why a program that is held is not ready.
var errStarting = domain.Errorf(domain.CodeUnavailable, "the program is still starting")

// Hold says that the program can be asked how it is, and nothing else yet: it
// waits for what it needs. Open ends that.
func (uc *CheckReadiness) Hold() { uc.held.Store(true) }

// Open says that the program has all that it needs in order to begin.
func (uc *CheckReadiness) Open() { uc.held.Store(false) }

// Held returns why the program does nothing yet, nil if it does.
func (uc *CheckReadiness) Held() error {
	if uc.held.Load() {
		return errStarting
	}
	return nil
}

// Stop makes every later Run answer HealthStopping, so that nothing more is
// sent to a program that is about to close its doors.
func (uc *CheckReadiness) Stop() { uc.stopping.Store(true) }

// Run asks all probes at once.
func (uc *CheckReadiness) Run(ctx context.Context) Readiness {
	errs := make([]error, len(uc.probes))
	var wait sync.WaitGroup
	for i, p := range uc.probes {
		wait.Go(func() { errs[i] = p.Probe.Probe(ctx) })
	}
	wait.Wait()
	r := Readiness{Health: HealthReady, Checks: make(map[string]error, len(uc.probes))}
	for i, p := range uc.probes {
		r.Checks[p.Name] = errs[i]
		switch {
		case errs[i] == nil:
		case p.Needs:
			r.Health = HealthUnready
		case r.Health == HealthReady:
			r.Health = HealthDegraded
		}
	}
	if err := uc.Held(); err != nil {
		r.Health, r.Checks["start"] = HealthUnready, err
	}
	if uc.stopping.Load() {
		r.Health = HealthStopping
	}
	return r
}
