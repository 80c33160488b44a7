package redis

import (
	"testing"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/services"
)

// callers is how many goroutines push at the same time, a core.
const callers = 64

func benchQueue(b *testing.B) *Queue {
	b.Helper()
	q, _ := openQueue(b, Config{URL: services.Redis(b)})
	return q
}

// hundred are 100 entries of one lane.
func hundred() []application.Entry {
	entries := make([]application.Entry, 100)
	for i := range entries {
		entries[i] = entry()
	}
	return entries
}

func BenchmarkQueue_PushOneAtATime(b *testing.B) {
	q := benchQueue(b)
	b.ReportAllocs()
	b.SetParallelism(callers)
	b.RunParallel(func(pb *testing.PB) {
		e := entry()
		for pb.Next() {
			if err := q.Push(b.Context(), e); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkQueue_Push100(b *testing.B) {
	q, entries := benchQueue(b), hundred()
	b.ReportAllocs()
	for b.Loop() {
		if err := q.Push(b.Context(), entries...); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkQueue_PutBack100AndPull100(b *testing.B) {
	q, entries := benchQueue(b), hundred()
	now := request(len(entries))
	now.Wait = 0
	b.ReportAllocs()
	for b.Loop() {
		if err := q.PutBack(b.Context(), entries...); err != nil {
			b.Fatal(err)
		}
		if got, err := q.Pull(b.Context(), now); err != nil || len(got) != len(entries) {
			b.Fatalf("pulled %d entries: %v", len(got), err)
		}
	}
}

func BenchmarkQueue_OldestOf10Lists(b *testing.B) {
	q := benchQueue(b)
	lanes := make([]application.Lane, domain.MaxPriority+1)
	for i := range lanes {
		e := entry()
		e.Priority = i
		lanes[i] = e.Lane
		if err := q.Push(b.Context(), e); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if oldest, err := q.Oldest(b.Context(), lanes...); err != nil || len(oldest) != len(lanes) {
			b.Fatalf("%d times: %v", len(oldest), err)
		}
	}
}

func BenchmarkSignals_Send(b *testing.B) {
	s, _, _ := openSignals(b, Config{URL: services.Redis(b)})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		signal := application.Signal{Kind: application.SignalChanged, Tasks: []domain.TaskID{entry().ID}}
		for pb.Next() {
			s.Send(signal)
		}
	})
}
