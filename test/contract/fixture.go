package contract

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// longInterval is the beat of a worker whose heartbeat stays young for the whole check.
const longInterval = time.Minute

// now is the time in the resolution of Millrace.
func now() time.Time { return domain.Moment(time.Now()) }

// makeTask makes a pending task that is marked as queued, then lets edits change
// what it consists of.
func makeTask(t *testing.T, edits ...func(*domain.TaskState)) *domain.Task {
	t.Helper()
	task, err := domain.NewTask(domain.TaskSpec{Message: "Hello World", MaxAttempts: new(3)}, now())
	if err != nil {
		t.Fatalf("new task: %v", err)
	}
	if len(edits) == 0 {
		return task
	}
	s := task.State()
	for _, edit := range edits {
		edit(&s)
	}
	return restore(t, s)
}

func restore(t *testing.T, s domain.TaskState) *domain.Task {
	t.Helper()
	task, err := domain.Restore(s)
	if err != nil {
		t.Fatalf("restore: %v", err)
	}
	return task
}

// waiting makes it a task that is to run at the given time and is not marked.
func waiting(runAt time.Time) func(*domain.TaskState) {
	return func(s *domain.TaskState) { s.RunAt, s.QueuedAt = runAt, time.Time{} }
}

// marked makes it a task that was marked as queued at the given time.
func marked(at time.Time) func(*domain.TaskState) {
	return func(s *domain.TaskState) { s.QueuedAt = at }
}

// heldBy makes it a task that the worker has claimed under that beat, with an
// hour to run.
func heldBy(worker domain.WorkerID, beat int64) func(*domain.TaskState) {
	return func(s *domain.TaskState) {
		s.Status, s.Worker, s.ClaimBeat = domain.StatusProcessing, worker, beat
		s.Attempt, s.Version, s.QueuedAt, s.Deadline = s.Attempt+1, s.Version+1, time.Time{}, now().Add(time.Hour)
		s.StartedAt = s.UpdatedAt
	}
}

// tried makes it a task that has been claimed so many times before.
func tried(attempts int) func(*domain.TaskState) {
	return func(s *domain.TaskState) { s.Attempt, s.StartedAt = attempts, s.UpdatedAt }
}

// completedBy makes it a task that the worker has completed.
func completedBy(worker domain.WorkerID) func(*domain.TaskState) {
	return func(s *domain.TaskState) {
		s.Status, s.Worker, s.QueuedAt, s.Result = domain.StatusCompleted, worker, time.Time{}, "done"
		s.Attempt, s.StartedAt = 1, s.UpdatedAt
	}
}

// overdue puts the attempt's deadline into the past.
func overdue(s *domain.TaskState) { s.Deadline = now().Add(-time.Second) }

// askedToStop notes that a client asked the attempt to stop.
func askedToStop(s *domain.TaskState) { s.StopRequestedAt = s.UpdatedAt }

// ended makes it a task of a final status.
func ended(status domain.Status) func(*domain.TaskState) {
	if status == domain.StatusCompleted {
		return completedBy("worker")
	}
	return func(s *domain.TaskState) { s.Status, s.QueuedAt = status, time.Time{} }
}

// add stores the tasks.
func add(t *testing.T, s Store, tasks ...*domain.Task) {
	t.Helper()
	if err := s.Tasks.Add(t.Context(), tasks...); err != nil {
		t.Fatalf("add %d tasks: %v", len(tasks), err)
	}
}

// addMade makes a task and stores it.
func addMade(t *testing.T, s Store, edits ...func(*domain.TaskState)) *domain.Task {
	t.Helper()
	task := makeTask(t, edits...)
	add(t, s, task)
	return task
}

// addMany makes n tasks alike and stores them.
func addMany(t *testing.T, s Store, n int, edits ...func(*domain.TaskState)) []*domain.Task {
	t.Helper()
	tasks := make([]*domain.Task, n)
	for i := range tasks {
		tasks[i] = makeTask(t, edits...)
	}
	add(t, s, tasks...)
	return tasks
}

// get loads a task.
func get(t *testing.T, s Store, id domain.TaskID) *domain.Task {
	t.Helper()
	task, err := s.Tasks.Get(t.Context(), id)
	if err != nil {
		t.Fatalf("get %s: %v", id, err)
	}
	return task
}

// getAll loads the tasks as they are stored, in no particular order.
func getAll(t *testing.T, s Store, tasks ...*domain.Task) []*domain.Task {
	t.Helper()
	stored, rest, err := s.Tasks.GetMany(t.Context(), idsOf(tasks)...)
	if err != nil || len(stored) != len(tasks) || len(rest) > 0 {
		t.Fatalf("get %d tasks: %d, %v", len(tasks), len(stored), err)
	}
	return stored
}

// wantStored checks that the store has exactly this.
func wantStored(t *testing.T, s Store, want domain.TaskState) {
	t.Helper()
	wantState(t, get(t, s, want.ID), want)
}

// wantState checks a task that came from the store: what it consists of, that
// its times are UTC, and that it knows itself stored.
func wantState(t *testing.T, got *domain.Task, want domain.TaskState) {
	t.Helper()
	if diff := cmp.Diff(want, got.State()); diff != "" {
		t.Errorf("task %s (-want +got):\n%s", want.ID, diff)
	}
	state := got.State()
	for name, at := range map[string]time.Time{
		"created_at": state.CreatedAt, "updated_at": state.UpdatedAt, "run_at": state.RunAt,
		"queued_at": state.QueuedAt, "deadline": state.Deadline, "started_at": state.StartedAt, "stop_requested_at": state.StopRequestedAt,
	} {
		if at.Location() != time.UTC {
			t.Errorf("task %s: %s = %v, which is not in UTC", want.ID, name, at)
		}
	}
	if got.StoredVersion() != got.Version() {
		t.Errorf("task %s: stored version %d, version %d", want.ID, got.StoredVersion(), got.Version())
	}
}

// wantIDs checks which tasks came back, in order.
func wantIDs(t *testing.T, got, want []*domain.Task) {
	t.Helper()
	if diff := cmp.Diff(idsOf(want), idsOf(got)); diff != "" {
		t.Errorf("tasks (-want +got):\n%s", diff)
	}
}

func idsOf(tasks []*domain.Task) []domain.TaskID {
	ids := make([]domain.TaskID, 0, len(tasks))
	for _, task := range tasks {
		ids = append(ids, task.ID())
	}
	return ids
}

func sortedByID(tasks []*domain.Task) []*domain.Task {
	return slices.SortedFunc(slices.Values(tasks), func(a, b *domain.Task) int {
		x, y := a.ID(), b.ID()
		return slices.Compare(x[:], y[:])
	})
}

// beatOf composes a beat of a worker that holds nothing and gives nothing back.
func beatOf(t *testing.T, id domain.WorkerID, number int64, interval time.Duration) application.Beat {
	unwanted := func(task *domain.Task) error {
		t.Errorf("beat %d of %s was to leave task %s as it is", number, id, task.ID())
		return domain.ErrConflict
	}
	return application.Beat{
		Worker: application.WorkerInfo{
			ID: id, Host: "host", PID: 42, Version: "v1.2.3", Started: now(), Capacity: 100, Running: 7,
		},
		Number: number, Interval: interval, Release: unwanted, TimeOut: unwanted, GiveUp: unwanted,
	}
}

// beat sends a beat.
func beat(t *testing.T, s Store, b application.Beat) application.BeatAnswer {
	t.Helper()
	answer, err := s.Workers.Beat(t.Context(), b)
	if err != nil {
		t.Fatalf("beat %d of %s: %v", b.Number, b.Worker.ID, err)
	}
	return answer
}

// enlist registers a new worker whose heartbeat stays young for the whole check.
func enlist(t *testing.T, s Store) domain.WorkerID {
	t.Helper()
	id := domain.NewWorkerID()
	beat(t, s, beatOf(t, id, 1, longInterval))
	return id
}

// claimOf is the worker's wish to have the tasks, made after its first beat.
func claimOf(worker domain.WorkerID, tasks ...*domain.Task) application.ClaimRequest {
	return application.ClaimRequest{
		Claim: domain.Claim{Worker: worker, Beat: 1, Timeout: time.Minute},
		IDs:   idsOf(tasks), Now: now(),
	}
}

// claim makes the tasks the worker's.
func claim(t *testing.T, s Store, req application.ClaimRequest) []*domain.Task {
	t.Helper()
	claimed, err := s.Tasks.Claim(t.Context(), req)
	if err != nil {
		t.Fatalf("claim %d tasks: %v", len(req.IDs), err)
	}
	if len(claimed.Limited) > 0 {
		t.Errorf("claim %d tasks of queues without limits: limited %+v", len(req.IDs), claimed.Limited)
	}
	return claimed.Tasks
}

// refOf names the task's latest attempt.
func refOf(task *domain.Task) application.AttemptRef {
	return application.AttemptRef{Task: task.ID(), Attempt: task.Attempt()}
}

// running lists attempts whose handlers have not returned.
func running(tasks ...*domain.Task) []application.HeldAttempt {
	held := make([]application.HeldAttempt, 0, len(tasks))
	for _, task := range tasks {
		held = append(held, application.HeldAttempt{AttemptRef: refOf(task), Running: true})
	}
	return held
}

// sortRefs orders attempts, as the order of an answer means nothing.
func sortRefs(refs []application.AttemptRef) []application.AttemptRef {
	return slices.SortedFunc(slices.Values(refs), func(a, b application.AttemptRef) int {
		if c := slices.Compare(a.Task[:], b.Task[:]); c != 0 {
			return c
		}
		return a.Attempt - b.Attempt
	})
}
