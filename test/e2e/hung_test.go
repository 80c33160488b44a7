package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/programs"
)

func TestWorker_ThatHasAHungHandlerWorksOnAndEnds(t *testing.T) {
	t.Parallel()
	p := newEmbeddedHarness(t)
	cfg := workerConfig()
	cfg.Capacity, cfg.MaxAbandoned, cfg.TaskTimeout = 1, 5, 300*time.Millisecond // four handlers are left behind
	never := make(chan struct{})
	defer close(never)
	hang := func(_ context.Context, task *domain.Task) error {
		if strings.HasPrefix(task.Message(), "hang") {
			<-never
		}
		return nil
	}
	hung := p.submit(t, "hang: never returns")
	next := p.submit(t, "next: needs the one slot")
	stop := p.run(t, cfg, hang)

	programs.Eventually(t, programs.Patience, "the slot is free again", func() bool { return p.get(t, next.ID()).Status() == domain.StatusCompleted })
	programs.Eventually(t, programs.Patience, "the hung attempts are spent", func() bool { return p.get(t, hung.ID()).Status() == domain.StatusFailed })
	if got := p.get(t, hung.ID()).State(); got.Failures != 3 || got.Rescues != 0 || !strings.Contains(got.LastError, "300ms") {
		t.Errorf("the task whose handler hangs: %+v", got)
	}
	if got := p.get(t, next.ID()); got.Attempt() != 1 {
		t.Errorf("the other task took %d attempts", got.Attempt())
	}
	last := p.submit(t, "hang: while the worker is told to stop")
	programs.Eventually(t, programs.Patience, "it runs", func() bool { return p.get(t, last.ID()).Status() == domain.StatusProcessing })
	begun := time.Now()
	stop()
	if took := time.Since(begun); took > cfg.ShutdownTimeout+cfg.HandlerGrace+time.Minute {
		t.Errorf("the stop took %v", took)
	}
	if got := p.get(t, last.ID()).Status(); got != domain.StatusPending {
		t.Errorf("after the stop the task is %s", got)
	}
}
