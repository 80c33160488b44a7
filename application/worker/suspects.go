package worker

import (
	"context"
	"math/rand/v2"
	"sync"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// admit returns those of the claimed tasks that are to be started: of suspects one, and
// none while the worker holds another. The rest has been given back by then, so that
// whatever the started ones do to the worker condemns none of them.
func (p *puller) admit(ctx context.Context, claimed []*domain.Task) []*domain.Task {
	var admitted []*domain.Task
	var deferring sync.WaitGroup
	for _, t := range claimed {
		if !t.Suspect(p.retry) || p.leases.admitSuspect(application.RefOf(t)) {
			admitted = append(admitted, t)
			continue
		}
		deferring.Go(func() { p.deferTask(ctx, t) })
	}
	deferring.Wait()
	return admitted
}

// deferTask gives a suspect back. If that fails the next heartbeat does it, which does not
// list it.
func (p *puller) deferTask(ctx context.Context, t *domain.Task) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
	defer cancel()
	ref := application.RefOf(t)
	if err := t.Defer(ref.Attempt, p.retry, rand.Float64(), p.Clock.Now()); err == nil {
		p.saveReleased(ctx, t)
	}
	p.leases.drop(ref)
	p.schedule.attemptEnded(t.Queue(), p.Clock.Now())
}
