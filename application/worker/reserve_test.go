package worker_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"go.uber.org/mock/gomock"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/worker"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/apptest"
)

// runningOf counts those of the tasks that are processing.
func (h *harness) runningOf(ids []domain.TaskID) (n int) {
	for _, id := range ids {
		if h.store.State(id).Status == domain.StatusProcessing {
			n++
		}
	}
	return n
}

func TestWorker_AQueueWhoseHandlersHangHoldsUpNoOther(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		h.takes("hung", "mail")
		h.handles(func(ctx context.Context, task *domain.Task) error {
			if task.Queue() == "hung" {
				return untilCanceled(ctx, task)
			}
			return nil
		})
		hung := h.enqueueIn("hung", 10)
		h.start()
		apptest.Pass(10 * time.Second)
		apptest.Same(t, "running of the queue that hangs", h.runningOf(hung), h.cfg.Capacity-1)

		mail := h.enqueueIn("mail", 20)
		apptest.Pass(worker.ReserveWait)
		h.wantStatus(domain.StatusCompleted, mail...)

		later := h.enqueueIn("mail", 1)
		apptest.Pass(worker.ReserveWait)
		h.wantStatus(domain.StatusCompleted, later...)
		apptest.Same(t, "running of the queue that hangs", h.runningOf(hung), h.cfg.Capacity-1)
	})
}

// Whatever comes in whatever order, and whatever hangs: while there are twice as many
// slots as queues, each queue that has tasks has one running, and if each has more than
// that, no slot is idle.
func TestWorker_EachQueueWithTasksRunsOne(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			withHarness(t, func(t *testing.T, h *harness) {
				random := rand.New(rand.NewPCG(seed, 1))
				var queues []domain.QueueName
				for i := range 1 + random.IntN(5) {
					queues = append(queues, domain.QueueName(fmt.Sprint("q", i)))
				}
				h.takes(queues...)
				h.cfg.Capacity = 2*len(queues) + random.IntN(5)
				h.handles(untilCanceled)
				h.start()

				tasks := map[domain.QueueName][]domain.TaskID{}
				for _, i := range random.Perm(len(queues)) {
					tasks[queues[i]] = h.enqueueIn(queues[i], 1+random.IntN(2)*20)
					apptest.Pass(time.Duration(random.IntN(3)) * 700 * time.Millisecond)
				}
				apptest.Pass(time.Duration(len(queues)) * worker.ReserveWait)
				total, submitted := 0, 0
				for q, ids := range tasks {
					if h.runningOf(ids) == 0 {
						t.Errorf("none of %s runs", q)
					}
					total, submitted = total+h.runningOf(ids), submitted+len(ids)
				}
				apptest.Same(t, "running", total, min(h.cfg.Capacity, submitted))
			})
		})
	}
}

// A claim that fails again and again gives its entries back, and others are pulled.
func TestWorker_PutsBackWhatItCannotClaim(t *testing.T) {
	withHarness(t, func(t *testing.T, h *harness) {
		h.takes("one", "other")
		h.handles(returning(nil))
		bad := h.enqueueIn("one", 1)[0]
		other := h.enqueueIn("other", 5)
		h.Tasks.EXPECT().Claim(apptest.Any, gomock.Cond(func(c application.ClaimRequest) bool { return slices.Contains(c.IDs, bad) })).
			Return(application.ClaimResult{}, domain.ErrUnavailable).MinTimes(2 * worker.MaxClaimTries)
		h.start()

		apptest.Pass(10 * time.Second)

		h.wantStatus(domain.StatusCompleted, other...)
		h.wantStatus(domain.StatusPending, bad)
		tries := h.pullsIn(time.Minute)
		if tries < 5 || tries > 60 {
			t.Errorf("%d pulls in a minute in which nothing can be claimed, want one for a few tries", tries)
		}
	})
}
