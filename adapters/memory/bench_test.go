package memory

import (
	"testing"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// entries are n entries of one lane.
func entries(n int) []application.Entry {
	all := make([]application.Entry, n)
	for i := range all {
		now := time.Now()
		all[i] = application.Entry{Lane: application.Lane{Queue: domain.DefaultQueue}, ID: domain.NewTaskID(now), QueuedAt: now}
	}
	return all
}

func BenchmarkQueue_PushOneAtATime(b *testing.B) {
	q := NewQueue()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		e := entries(1)
		for pb.Next() {
			if err := q.Push(b.Context(), e...); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkQueue_Push100AndPull100(b *testing.B) {
	q, all := NewQueue(), entries(100)
	b.ReportAllocs()
	for b.Loop() {
		if err := q.Push(b.Context(), all...); err != nil {
			b.Fatal(err)
		}
		pull(b, q, len(all))
	}
}

func BenchmarkQueue_PutBack100AndPull100(b *testing.B) {
	q, all := NewQueue(), entries(100)
	if err := q.Push(b.Context(), entries(100_000)...); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := q.PutBack(b.Context(), all...); err != nil {
			b.Fatal(err)
		}
		pull(b, q, len(all))
	}
}

func pull(b *testing.B, q *Queue, n int) {
	b.Helper()
	got, err := q.Pull(b.Context(), application.PullRequest{Queues: []domain.QueueName{domain.DefaultQueue}, Max: n})
	if err != nil || len(got) != n {
		b.Fatalf("pulled %d entries of %d: %v", len(got), n, err)
	}
}

func BenchmarkQueue_Oldest(b *testing.B) {
	q, all := NewQueue(), entries(1)
	if err := q.Push(b.Context(), all...); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if oldest, err := q.Oldest(b.Context(), all[0].Lane); err != nil || len(oldest) != 1 {
			b.Fatalf("%d times: %v", len(oldest), err)
		}
	}
}

func BenchmarkSignals_SendToOneListener(b *testing.B) {
	s := NewSignals()
	listening, ended := make(chan struct{}), make(chan struct{})
	ctx := b.Context()
	go func() {
		defer close(ended)
		_ = s.Listen(ctx, func() { close(listening) }, func(application.Signal) {}) // it ends with the benchmark
	}()
	b.Cleanup(func() { <-ended })
	<-listening
	signal := application.Signal{Kind: application.SignalChanged, Tasks: []domain.TaskID{{1}}}
	b.ReportAllocs()
	for b.Loop() {
		s.Send(signal)
	}
}
