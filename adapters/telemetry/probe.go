package telemetry

import (
	"context"
	"log/slog"

	"github.com/millrace/millrace/application"
)

var _ application.Probe = (*Probe)(nil)

// Probe logs that the probe of a check begins to fail, with the whole error, and that it
// succeeds again, however often it is asked.
type Probe struct {
	next   application.Probe
	check  string
	checks *outages
}

// NewProbe decorates next, whose check /readyz shows under that name.
func NewProbe(next application.Probe, check string, log *slog.Logger) *Probe {
	return &Probe{next, check, newOutages(log, "readiness check failing", "readiness check succeeds again")}
}

// Probe asks the decorated probe.
func (p *Probe) Probe(ctx context.Context) error {
	err := p.next.Probe(ctx)
	if ctx.Err() != context.Canceled { // else whoever asked has gone
		p.checks.report(ctx, p.check, err, slog.String("check", p.check))
	}
	return err
}
