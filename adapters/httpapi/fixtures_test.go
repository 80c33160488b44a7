package httpapi_test

import (
	"errors"
	"net/http"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/usecase"
	"github.com/millrace/millrace/domain"
)

// history leads a new task through its changes.
type history func(s *service, t *domain.Task) error

// add stores a task with this history and returns its id.
func (s *service) add(advance history) string {
	s.t.Helper()
	t, err := domain.NewTask(domain.TaskSpec{Message: "Hello World", MaxAttempts: new(5)}, s.clock.Now())
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.store.TaskRepository.Add(s.t.Context(), t); err != nil {
		s.t.Fatal(err)
	}
	if err := advance(s, t); err != nil {
		s.t.Fatal(err)
	}
	return t.ID().String()
}

func pending(*service, *domain.Task) error { return nil }

var worker = domain.NewWorkerID()

func running(s *service, t *domain.Task) error {
	if t.Attempt() > 0 { // a retry: its wait is over
		if err := t.MarkQueued(s.clock.Now()); err != nil {
			return err
		}
	}
	err := t.Claim(domain.Claim{Worker: worker, Beat: 1, Timeout: time.Hour}, s.clock.Now())
	return errors.Join(err, s.store.Save(s.t.Context(), t))
}

func refused(s *service, t *domain.Task) error {
	err := errors.Join(running(s, t), t.Fail(t.Attempt(), domain.Failure{Reason: "connection refused"}, domain.RetryPolicy{}, 0, s.clock.Now()))
	return errors.Join(err, s.store.Save(s.t.Context(), t))
}

func failed(s *service, t *domain.Task) error {
	var err error
	for t.Status() != domain.StatusFailed && err == nil {
		err = refused(s, t)
	}
	return err
}

func completed(result string) history {
	return func(s *service, t *domain.Task) error {
		err := errors.Join(running(s, t), t.Complete(t.Attempt(), result, s.clock.Now()))
		return errors.Join(err, s.store.Save(s.t.Context(), t))
	}
}

func canceled(s *service, t *domain.Task) error {
	return errors.Join(t.Cancel(s.clock.Now()), s.store.Save(s.t.Context(), t))
}

func retried(s *service, t *domain.Task) error {
	return errors.Join(refused(s, t), completed("")(s, t))
}

// addMany stores n pending tasks.
func (s *service) addMany(n int) {
	s.t.Helper()
	var tasks []*domain.Task
	for range n {
		t, err := domain.NewTask(domain.TaskSpec{Message: "Hello World", MaxAttempts: new(5)}, s.clock.Now())
		if err != nil {
			s.t.Fatal(err)
		}
		if tasks = append(tasks, t); len(tasks) == usecase.MaxBatch {
			s.addAll(tasks)
			tasks = nil
		}
	}
	s.addAll(tasks)
}

func (s *service) addAll(tasks []*domain.Task) {
	s.t.Helper()
	if len(tasks) == 0 {
		return
	}
	if err := s.store.TaskRepository.Add(s.t.Context(), tasks...); err != nil {
		s.t.Fatal(err)
	}
}

// bulk begins a bulk action and returns its id.
func (s *service) bulk(body string) string {
	s.t.Helper()
	a := s.call(http.MethodPost, "/tasks/bulk", body)
	id, _ := a.fields(s.t)["id"].(string)
	if a.status != http.StatusAccepted || a.header.Get("Location") != "/bulk/"+id {
		s.t.Fatalf("%d %v %s", a.status, a.header, a.body)
	}
	return id
}

// addBulk stores a bulk action and returns its id.
func (s *service) addBulk() string {
	s.t.Helper()
	now := s.clock.Now()
	b := domain.Bulk{
		ID: domain.BulkID(domain.NewTaskID(now)), Action: domain.BulkCancel, Cursor: domain.NewTaskID(now),
		CreatedAt: now, UpdatedAt: now,
	}
	if err := s.store.bulks.Add(s.t.Context(), b); err != nil {
		s.t.Fatal(err)
	}
	return b.ID.String()
}

// doBulks cancels what the bulk actions that are not done match, as the
// dispatcher does.
func (s *service) doBulks() {
	s.t.Helper()
	step := application.BulkStep{Limit: 10, Window: 100, Decide: func(b domain.Bulk, t *domain.Task) error { return b.Action.Apply(t, s.clock.Now()) }}
	for found := true; found; {
		var err error
		step.Now = s.clock.Now()
		var result application.BulkStepResult
		if result, err = s.store.bulks.Step(s.t.Context(), step); err != nil {
			s.t.Fatal(err)
		}
		found = result.Found
	}
}
