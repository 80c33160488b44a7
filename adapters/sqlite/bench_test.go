package sqlite_test

import (
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/contract"
)

// callers is how many goroutines write at the same time, a core.
const callers = 64

func benchStore(b *testing.B) contract.Store {
	b.Helper()
	db, _ := open(b, fresh(b))
	return storeOn(db)
}

func newTasks(b *testing.B, n int) []*domain.Task {
	b.Helper()
	tasks := make([]*domain.Task, n)
	for i := range tasks {
		var err error
		if tasks[i], err = domain.NewTask(domain.TaskSpec{Message: strings.Repeat("x", 100), MaxAttempts: new(3)}, time.Now()); err != nil {
			b.Fatal(err)
		}
	}
	return tasks
}

func add(b *testing.B, store contract.Store, tasks ...*domain.Task) {
	b.Helper()
	if err := store.Tasks.Add(b.Context(), tasks...); err != nil {
		b.Error(err)
	}
}

// addMany stores new tasks, and returns their ids.
func addMany(b *testing.B, store contract.Store, n int) []domain.TaskID {
	b.Helper()
	tasks := newTasks(b, n)
	ids := make([]domain.TaskID, n)
	for i, t := range tasks {
		ids[i] = t.ID()
	}
	add(b, store, tasks...)
	return ids
}

func claim(b *testing.B, store contract.Store, worker domain.WorkerID, ids []domain.TaskID) []*domain.Task {
	b.Helper()
	claimed, err := store.Tasks.Claim(b.Context(), application.ClaimRequest{
		Claim: domain.Claim{Worker: worker, Beat: 1, Timeout: time.Hour}, IDs: ids, Now: time.Now(),
	})
	if err != nil || len(claimed.Tasks) != len(ids) {
		b.Fatalf("claimed %d of %d tasks: %v", len(claimed.Tasks), len(ids), err)
	}
	return claimed.Tasks
}

func BenchmarkRepositories(b *testing.B) { contract.Benchmarks(b, benchStore) }

func BenchmarkTasks_AddOneAtATime(b *testing.B) {
	store := benchStore(b)
	tasks := newTasks(b, b.N)
	var next atomic.Int64
	b.ReportAllocs()
	b.ResetTimer()
	b.SetParallelism(callers)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			add(b, store, tasks[next.Add(1)-1])
		}
	})
}

func BenchmarkTasks_Add100(b *testing.B) {
	store := benchStore(b)
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		tasks := newTasks(b, 100)
		b.StartTimer()
		add(b, store, tasks...)
	}
}

func BenchmarkTasks_AddOnce(b *testing.B) {
	store := benchStore(b)
	tasks := newTasks(b, b.N)
	var next atomic.Int64
	b.ReportAllocs()
	b.ResetTimer()
	b.SetParallelism(callers)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			n := next.Add(1) - 1
			now := time.Now()
			key := application.IdempotencyKey{Key: strconv.FormatInt(n, 10), Now: now, Expires: now.Add(time.Hour)}
			if _, _, err := store.Tasks.AddOnce(b.Context(), key, tasks[n]); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkTasks_Claim100(b *testing.B) {
	store := benchStore(b)
	worker := beatOnce(b, store, time.Hour)
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		ids := addMany(b, store, 100)
		b.StartTimer()
		claim(b, store, worker, ids)
	}
}

func BenchmarkTasks_SaveOutcome(b *testing.B) {
	store := benchStore(b)
	worker := beatOnce(b, store, time.Hour)
	var tasks []*domain.Task
	for len(tasks) < b.N {
		tasks = append(tasks, claim(b, store, worker, addMany(b, store, 1000))...)
	}
	var next atomic.Int64
	b.ReportAllocs()
	b.ResetTimer()
	b.SetParallelism(callers)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			t := tasks[next.Add(1)-1]
			if err := t.Complete(t.Attempt(), "", time.Now()); err != nil {
				b.Error(err)
			}
			if err := store.Tasks.Save(b.Context(), t); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkTasks_Get(b *testing.B) {
	store := benchStore(b)
	ids := addMany(b, store, 1000)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := store.Tasks.Get(b.Context(), ids[i%len(ids)]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSearch_List20(b *testing.B) {
	store := benchStore(b)
	addMany(b, store, 1000)
	b.ReportAllocs()
	for b.Loop() {
		if list, err := store.Search.List(b.Context(), application.TaskQuery{Limit: 20, Window: 1000}); err != nil || len(list.Tasks) != 20 {
			b.Fatalf("%d tasks, %v", len(list.Tasks), err)
		}
	}
}
