package postgres

import (
	"fmt"
	"testing"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// callers is how many goroutines for each processor call at once.
const callers = 32

// stored adds n tasks, a batch at a time.
func stored(b *testing.B, r *TaskRepository, n int) (tasks []*domain.Task, ids []domain.TaskID) {
	b.Helper()
	for len(tasks) < n {
		some, theirs := newTasks(b, min(1000, n-len(tasks)))
		if err := r.Add(b.Context(), some...); err != nil {
			b.Fatal(err)
		}
		tasks, ids = append(tasks, some...), append(ids, theirs...)
	}
	return tasks, ids
}

// claimer is a worker that may claim for a day.
func claimer(b *testing.B, db *DB) (beat application.Beat, claim func(ids []domain.TaskID) []*domain.Task) {
	b.Helper()
	beat = beatOf(24 * time.Hour)
	if _, err := NewWorkerRepository(db).Beat(b.Context(), beat); err != nil {
		b.Fatal(err)
	}
	r := NewTaskRepository(db)
	return beat, func(ids []domain.TaskID) []*domain.Task {
		got, err := r.Claim(b.Context(), application.ClaimRequest{
			Claim: domain.Claim{Worker: beat.Worker.ID, Beat: 1, Timeout: time.Minute}, IDs: ids, Now: time.Now(),
		})
		if err != nil || len(got.Tasks) != len(ids) {
			b.Errorf("claimed %d of %d, %v", len(got.Tasks), len(ids), err)
		}
		return got.Tasks
	}
}

// together runs n turns of call, of as many goroutines as callers says.
func together(b *testing.B, call func() error) {
	b.Helper()
	b.ReportAllocs()
	b.SetParallelism(callers)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := call(); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkAdd(b *testing.B) {
	for _, n := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("tasks=%d", n), func(b *testing.B) {
			r := NewTaskRepository(migrated(b, Config{CallTimeout: time.Minute}))
			together(b, func() error {
				tasks, _ := newTasks(b, n)
				return r.Add(b.Context(), tasks...)
			})
		})
	}
}

func BenchmarkAddOnce(b *testing.B) {
	r := NewTaskRepository(migrated(b, Config{CallTimeout: time.Minute}))
	together(b, func() error {
		task := newTask(b)
		_, _, err := r.AddOnce(b.Context(), keyOf(task.ID().String(), time.Now()), task)
		return err
	})
}

func BenchmarkSave(b *testing.B) {
	db := migrated(b, Config{CallTimeout: time.Minute})
	r := NewTaskRepository(db)
	_, claim := claimer(b, db)
	_, ids := stored(b, r, b.N)
	held := make(chan *domain.Task, b.N)
	for len(ids) > 0 {
		n := min(100, len(ids))
		for _, t := range claim(ids[:n]) {
			held <- t
		}
		ids = ids[n:]
	}
	together(b, func() error {
		t := <-held
		if err := t.Complete(t.Attempt(), "", time.Now()); err != nil {
			return err
		}
		return r.Save(b.Context(), t)
	})
}

func BenchmarkClaim(b *testing.B) {
	db := migrated(b, Config{CallTimeout: time.Minute})
	_, claim := claimer(b, db)
	_, ids := stored(b, NewTaskRepository(db), b.N*100)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N { // not b.Loop: the tasks are made before
		claim(ids[i*100 : (i+1)*100])
	}
}

func BenchmarkGet(b *testing.B) {
	r := NewTaskRepository(migrated(b, Config{}))
	_, ids := stored(b, r, 1000)
	together(b, func() error {
		_, err := r.Get(b.Context(), ids[0])
		return err
	})
}

func BenchmarkList(b *testing.B) {
	db := migrated(b, Config{})
	stored(b, NewTaskRepository(db), 10_000)
	s := NewTaskSearch(db)
	together(b, func() error {
		_, err := s.List(b.Context(), application.TaskQuery{Limit: 20, Window: 20_000})
		return err
	})
}

func BenchmarkBeat(b *testing.B) {
	db := migrated(b, Config{})
	beat, claim := claimer(b, db)
	_, ids := stored(b, NewTaskRepository(db), 100)
	workers := NewWorkerRepository(db)
	for _, t := range claim(ids) {
		beat.Held = append(beat.Held, application.HeldAttempt{AttemptRef: application.AttemptRef{Task: t.ID(), Attempt: t.Attempt()}})
	}
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		beat.Number++
		if _, err := workers.Beat(b.Context(), beat); err != nil {
			b.Fatal(err)
		}
	}
}
