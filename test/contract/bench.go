package contract

import (
	"context"
	"testing"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// filled is a store for benchmarks.
type filled struct {
	Store
	worker  domain.WorkerID
	waiting []*domain.Task // a thousand, a hundred of which are not marked as queued
	tried   *domain.Task   // has recorded attempts
	bulk    domain.Bulk
}

// benchmarks call each method that the adapters have no benchmark of their own for,
// as a worker or a client does most of the time: most sweeps find nothing.
var benchmarks = map[string]func(ctx context.Context, x *filled) error{
	"GetMany": func(ctx context.Context, x *filled) error {
		_, _, err := x.Tasks.GetMany(ctx, idsOf(x.waiting[:100])...)
		return err
	},
	"Versions": func(ctx context.Context, x *filled) error {
		_, err := x.Tasks.Versions(ctx, idsOf(x.waiting[:100])...)
		return err
	},
	"Attempts": func(ctx context.Context, x *filled) error {
		_, err := x.Tasks.Attempts(ctx, x.tried.ID())
		return err
	},
	"Count": func(ctx context.Context, x *filled) error {
		_, _, err := x.Search.Count(ctx, application.TaskQuery{Window: 1000})
		return err
	},
	"Leave":  func(ctx context.Context, x *filled) error { return x.Workers.Leave(ctx, domain.NewWorkerID()) },
	"Forget": func(ctx context.Context, x *filled) error { _, err := x.Workers.Forget(ctx, time.Hour); return err },
	"NextDue": func(ctx context.Context, x *filled) error {
		_, _, err := x.Dispatch.NextDue(ctx)
		return err
	},
	"Due": func(ctx context.Context, x *filled) error { // finds a hundred, and leaves them as they are
		_, err := x.Dispatch.Due(ctx, now(), application.SweepBatch{Limit: 100, Decide: func(*domain.Task) error { return nil }})
		return err
	},
	"Stranded": func(ctx context.Context, x *filled) error { // marks a hundred
		_, err := x.Dispatch.Stranded(ctx, map[application.Lane]time.Time{defaultList: now().Add(time.Hour)}, application.SweepBatch{Limit: 100, Decide: queuedAt(now())})
		return err
	},
	"QueuedBefore": func(ctx context.Context, x *filled) error {
		_, err := x.Dispatch.QueuedBefore(ctx, now().Add(time.Hour))
		return err
	},
	"Orphaned": func(ctx context.Context, x *filled) error {
		observer := application.Observer{Worker: x.worker, Interval: longInterval, Lease: 10 * longInterval}
		_, err := x.Dispatch.Orphaned(ctx, observer, application.SweepBatch{Limit: 100, Decide: released(now())})
		return err
	},
	"ForgetKeys": func(ctx context.Context, x *filled) error {
		_, err := x.Dispatch.ForgetKeys(ctx, now(), 1000)
		return err
	},
	"QueuesList": func(ctx context.Context, x *filled) error {
		_, err := x.Queues.List(ctx, application.QueueQuery{Limit: 1000})
		return err
	},
	"QueuesGet": func(ctx context.Context, x *filled) error {
		_, err := x.Queues.Get(ctx, domain.DefaultQueue)
		return err
	},
	"QueuesAhead": func(ctx context.Context, x *filled) error {
		_, err := x.Queues.Ahead(ctx, x.waiting[999], 10_000)
		return err
	},
	"QueuesChange": func(ctx context.Context, x *filled) error {
		return x.Queues.Change(ctx, domain.DefaultQueue, func(q *domain.QueueSettings) error { q.MaxRunning++; return nil })
	},
	"BulksAdd": func(ctx context.Context, x *filled) error {
		return x.Bulks.Add(ctx, newBulk(domain.BulkCancel, domain.TaskFilter{}))
	},
	"BulksGet": func(ctx context.Context, x *filled) error { _, err := x.Bulks.Get(ctx, x.bulk.ID); return err },
	"BulksStep": func(ctx context.Context, x *filled) error {
		_, err := x.Bulks.Step(ctx, bulkStep(100, 1000))
		return err
	},
}

// Benchmarks measures the methods of the ports in Store that take little time each
// and are called often, on a store with a thousand tasks that open has opened empty.
func Benchmarks(b *testing.B, open func(b *testing.B) Store) {
	for name, call := range benchmarks {
		b.Run(name, func(b *testing.B) {
			x := fill(b, open(b))
			b.ReportAllocs()
			for b.Loop() {
				if err := call(b.Context(), x); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// fill fills a store.
func fill(b *testing.B, s Store) *filled {
	b.Helper()
	x := &filled{Store: s, worker: domain.NewWorkerID(), bulk: newBulk(domain.BulkCancel, domain.TaskFilter{Queues: []domain.QueueName{"none"}})}
	for n := range 1001 {
		spec := domain.TaskSpec{Message: "Hello World", MaxAttempts: new(3)}
		if n < 100 {
			spec.Delay = new(time.Millisecond)
		}
		task, err := domain.NewTask(spec, now())
		if err != nil {
			b.Fatal(err)
		}
		x.waiting = append(x.waiting, task)
	}
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	must(s.Tasks.Add(b.Context(), x.waiting...))
	_, err := s.Workers.Beat(b.Context(), application.Beat{
		Worker: application.WorkerInfo{ID: x.worker, Started: now(), Queues: []domain.QueueName{domain.DefaultQueue}, Capacity: 100},
		Number: 1, Interval: longInterval,
	})
	must(err)
	must(s.Bulks.Add(b.Context(), x.bulk))
	last := len(x.waiting) - 1
	x.waiting, x.tried = x.waiting[:last], x.waiting[last]
	for range 3 {
		must(x.tried.Claim(domain.Claim{Worker: x.worker, Beat: 1, Timeout: time.Minute}, now()))
		must(x.tried.Release(x.tried.Attempt(), now()))
		must(x.tried.MarkQueued(now()))
	}
	must(s.Tasks.Save(b.Context(), x.tried))
	return x
}
