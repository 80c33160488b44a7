package worker_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/worker"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/apptest"
)

// BenchmarkWorker drains tasks that need no work, between ports that cost next to
// nothing: what is left is what the worker itself costs per task.
func BenchmarkWorker(b *testing.B) {
	for _, capacity := range []int{100, 1000} {
		b.Run(fmt.Sprintf("Slots%d", capacity), func(b *testing.B) {
			ctx, stop := context.WithCancel(b.Context())
			source := &endless{left: b.N, drained: stop}
			source.unsaved.Store(int64(b.N))
			w := worker.New(worker.Deps{
				Tasks: source, Workers: okWorkers{}, Queue: source, Signals: noSignals{}, Handler: idleHandler{}, Clock: wallClock{}, Events: application.NoEvents{},
			}, application.WorkerInfo{ID: "w"}, worker.Config{
				Queues: []worker.QueueWeight{{Name: domain.DefaultQueue, Weight: 1}}, Capacity: capacity, Lease: 30 * time.Second,
				TaskTimeout: 5 * time.Minute, HandlerGrace: time.Second, ShutdownTimeout: time.Minute, Retry: apptest.RetryPolicy,
			})
			b.ReportAllocs()
			b.ResetTimer()
			w.Run(ctx)
			b.ReportMetric(float64(b.N)/float64(source.claims), "tasks/claim")
			if n := source.unsaved.Load(); n != 0 {
				b.Errorf("%d of %d tasks are not saved", n, b.N)
			}
		})
	}
}

// endless is a queue and a store that have left tasks, and nothing else.
type endless struct {
	application.TaskRepository
	application.Queue
	left    int // pulls come one at a time
	unsaved atomic.Int64
	claims  int
	drained func()
}

func (e *endless) Pull(ctx context.Context, p application.PullRequest) ([]application.Entry, error) {
	if e.left == 0 {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	entries := make([]application.Entry, min(p.Max, e.left))
	for i := range entries {
		entries[i] = application.Entry{Lane: apptest.DefaultLane, ID: domain.NewTaskID(time.Now())}
	}
	e.left -= len(entries)
	return entries, nil
}

func (e *endless) Claim(_ context.Context, c application.ClaimRequest) (application.ClaimResult, error) {
	e.claims++
	tasks := make([]*domain.Task, len(c.IDs))
	for i, id := range c.IDs {
		t, err := domain.Restore(domain.TaskState{
			ID: id, Message: "Hello World", Queue: domain.DefaultQueue, Status: domain.StatusProcessing, CreatedAt: c.Now, UpdatedAt: c.Now,
			RunAt: c.Now, Version: 2, MaxAttempts: 3, Attempt: 1, Worker: c.Worker, StartedAt: c.Now, Deadline: c.Now.Add(c.Timeout),
		})
		if err != nil {
			return application.ClaimResult{}, err
		}
		tasks[i] = t
	}
	return application.ClaimResult{Tasks: tasks}, nil
}

func (e *endless) Save(_ context.Context, t *domain.Task) error {
	t.MarkStored()
	if e.unsaved.Add(-1) == 0 {
		e.drained()
	}
	return nil
}

// Ports that accept everything and do nothing.
type (
	okWorkers   struct{ application.WorkerRepository }
	noSignals   struct{}
	idleHandler struct{}
	wallClock   struct{}
)

func (okWorkers) Beat(context.Context, application.Beat) (application.BeatAnswer, error) {
	return application.BeatAnswer{}, nil
}
func (okWorkers) Leave(context.Context, domain.WorkerID) error { return nil }

func (noSignals) Send(application.Signal) {}
func (noSignals) Listen(ctx context.Context, ready func(), _ func(application.Signal)) error {
	ready()
	<-ctx.Done()
	return ctx.Err()
}

func (idleHandler) Handle(context.Context, *domain.Task) (string, error) { return "", nil }

func (wallClock) Now() time.Time { return apptest.Now() }
