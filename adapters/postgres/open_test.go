package postgres

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/services"
)

// open opens a pool on the database of cfg, or on a new one.
func open(t testing.TB, cfg Config) *DB {
	t.Helper()
	if cfg.URL == "" {
		cfg.URL = services.PostgreSQL(t)
	}
	db, closePool, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(closePool)
	return db
}

// migrated is open, with the schema made.
func migrated(t testing.TB, cfg Config) *DB {
	t.Helper()
	db := open(t, cfg)
	if err := Migrate(t.Context(), db, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	return db
}

func newTasks(t testing.TB, n int) ([]*domain.Task, []domain.TaskID) {
	t.Helper()
	tasks, ids := make([]*domain.Task, n), make([]domain.TaskID, n)
	for i := range tasks {
		task, err := domain.NewTask(domain.TaskSpec{Message: fmt.Sprint("task ", i), MaxAttempts: new(3)}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		tasks[i], ids[i] = task, task.ID()
	}
	return tasks, ids
}

func idsOf(tasks []*domain.Task) []domain.TaskID {
	ids := make([]domain.TaskID, len(tasks))
	for i, t := range tasks {
		ids[i] = t.ID()
	}
	return ids
}

func newTask(t testing.TB) *domain.Task {
	t.Helper()
	tasks, _ := newTasks(t, 1)
	return tasks[0]
}

// beatOf is the first beat of a new worker that holds nothing.
func beatOf(interval time.Duration) application.Beat {
	release := func(t *domain.Task) error { return t.Release(t.Attempt(), time.Now()) }
	return application.Beat{
		Worker: application.WorkerInfo{ID: domain.NewWorkerID(), Host: "here", PID: 1, Version: "test", Started: time.Now(), Capacity: 1},
		Number: 1, Interval: interval, Release: release, TimeOut: release,
	}
}
