package application

import (
	"context"
	"sync"
	"sync/atomic"
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
	Probe Probe
	Needs bool // without it the program is unready, else degraded
}

// Readiness is the outcome of all probes.
type Readiness struct {
	Health Health
	Checks map[string]error // by probe; nil: it answers
}

// CheckReadiness tells whether a program can do its work.
type CheckReadiness struct {
	probes   []NamedProbe
	stopping atomic.Bool
}

// NewCheckReadiness makes the use case.
func NewCheckReadiness(probes ...NamedProbe) *CheckReadiness {
	return &CheckReadiness{probes: probes}
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
	if uc.stopping.Load() {
		r.Health = HealthStopping
	}
	return r
}
