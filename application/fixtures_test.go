package application_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/mock/gomock"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/mocks"
	"github.com/millrace/millrace/domain"
)

// errBroken is a failure that is nobody's code: a defect, as it were.
var errBroken = errors.New("broken")

// retryPolicy is what the tests' tasks are retried by.
var retryPolicy = domain.RetryPolicy{Base: 4 * time.Second, Cap: time.Minute, MaxRescues: 3}

// ports are mocks of all that the use cases need, the time excepted: that is the
// bubble's.
type ports struct {
	tasks    *mocks.MockTaskRepository
	workers  *mocks.MockWorkerRepository
	dispatch *mocks.MockDispatchRepository
	search   *mocks.MockTaskSearch
	queues   *mocks.MockQueueRepository
	bulks    *mocks.MockBulkRepository
	queue    *mocks.MockQueue
	signals  *mocks.MockSignals
	handler  *mocks.MockHandler
	events   *mocks.MockEvents
	clock    *mocks.MockClock
}

func newPorts(t *testing.T) *ports {
	t.Helper()
	ctrl := gomock.NewController(t)
	p := &ports{
		tasks:    mocks.NewMockTaskRepository(ctrl),
		workers:  mocks.NewMockWorkerRepository(ctrl),
		dispatch: mocks.NewMockDispatchRepository(ctrl),
		search:   mocks.NewMockTaskSearch(ctrl),
		queues:   mocks.NewMockQueueRepository(ctrl),
		bulks:    mocks.NewMockBulkRepository(ctrl),
		queue:    mocks.NewMockQueue(ctrl),
		signals:  mocks.NewMockSignals(ctrl),
		handler:  mocks.NewMockHandler(ctrl),
		events:   mocks.NewMockEvents(ctrl),
		clock:    mocks.NewMockClock(ctrl),
	}
	p.clock.EXPECT().Now().DoAndReturn(now).AnyTimes()
	return p
}

// now is the time of a synctest bubble, or of the machine outside of one.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// anyArg matches every argument.
var anyArg = gomock.Any()

// newTask makes a task that waits and is marked as queued.
func newTask(t *testing.T) *domain.Task {
	t.Helper()
	task, err := domain.NewTask(domain.TaskSpec{Message: "Hello World", MaxAttempts: 3}, now())
	must(t, err)
	task.MarkStored()
	return task
}

// entry is the hint for a task in the default queue.
func entry(id domain.TaskID, queuedAt time.Time) application.Entry {
	return application.Entry{List: defaultList, ID: id, QueuedAt: queuedAt}
}

// defaultList is the list of a task that says nothing.
var defaultList = application.List{Queue: domain.DefaultQueue}

// taken makes a task that worker "w" has claimed for a minute.
func taken(t *testing.T) *domain.Task {
	t.Helper()
	return changed(t, newTask(t), func(task *domain.Task) error {
		return task.Claim(domain.Claim{Worker: "w", Timeout: time.Minute}, now())
	})
}

// failed makes a task whose attempts are spent.
func failed(t *testing.T) *domain.Task {
	t.Helper()
	return changed(t, taken(t), func(task *domain.Task) error {
		return task.Fail(1, domain.Failure{Reason: "no", Permanent: true}, retryPolicy, 0, now())
	})
}

// canceled makes a task that was canceled.
func canceled(t *testing.T) *domain.Task {
	t.Helper()
	return changed(t, newTask(t), func(task *domain.Task) error { return task.Cancel(now()) })
}

// changed returns a copy of the task after the change, as a store has it.
func changed(t *testing.T, task *domain.Task, change func(*domain.Task) error) *domain.Task {
	t.Helper()
	task = task.Clone()
	must(t, change(task))
	task.MarkStored()
	return task
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// same fails the test unless got is what is wanted.
func same[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// alike does so for what is made of parts.
func alike[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// wantCode fails the test unless err is a domain error of that code.
func wantCode(t *testing.T, err error, code domain.Code) *domain.Error {
	t.Helper()
	if err == nil {
		t.Fatalf("got no error, want one of code %s", code)
	}
	e := domain.Public(err)
	if e.Code != code {
		t.Fatalf("got code %s (%v), want %s", e.Code, err, code)
	}
	return e
}

// wantError fails the test unless err is, or wraps, the wanted one.
func wantError(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
}

// record is a list that grows while others read it.
type record[T any] struct {
	mu  sync.Mutex
	all []T
}

func (r *record[T]) add(x T) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, x)
}

// list returns what was added so far, in order.
func (r *record[T]) list() []T {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.all)
}

// last returns what was added last, the zero value if nothing was.
func (r *record[T]) last() (x T) {
	if all := r.list(); len(all) > 0 {
		x = all[len(all)-1]
	}
	return x
}

// untilEnded is a call that hangs until its context ends.
func untilEnded(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}
