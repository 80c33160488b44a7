// Package apptest has what the tests of application share: mocks of all ports, tasks
// in every state, and the embedded store for mocks to answer from.
package apptest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/mock/gomock"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/mocks"
	"github.com/millrace/millrace/domain"
)

// ErrTookTooLong is that of a store that was not done in time.
var ErrTookTooLong = fmt.Errorf("%w: %w", domain.ErrUnavailable, os.ErrDeadlineExceeded)

// ErrBroken is a failure without a code, as a defect causes it.
var ErrBroken = errors.New("broken")

// RetryPolicy is what the tests' tasks are retried by.
var RetryPolicy = domain.RetryPolicy{Base: 4 * time.Second, Cap: time.Minute, MaxRescues: 3}

// Ports are mocks of all that the use cases need, the time excepted: that is the
// bubble's.
type Ports struct {
	Tasks      *mocks.MockTaskRepository
	Workers    *mocks.MockWorkerRepository
	Dispatch   *mocks.MockDispatchRepository
	Search     *mocks.MockTaskSearch
	Queues     *mocks.MockQueueRepository
	Bulks      *mocks.MockBulkRepository
	Purges     *mocks.MockPurgeRepository
	Queue      *mocks.MockQueue
	Signals    *mocks.MockSignals
	Handler    *mocks.MockHandler
	Events     *mocks.MockEvents
	Clock      *mocks.MockClock
	Statistics *mocks.MockStatisticsRepository
}

// NewPorts makes mocks whose clock tells the time, in a synctest bubble or outside.
func NewPorts(t *testing.T) *Ports {
	t.Helper()
	ctrl := gomock.NewController(t)
	p := &Ports{
		Tasks:      mocks.NewMockTaskRepository(ctrl),
		Workers:    mocks.NewMockWorkerRepository(ctrl),
		Dispatch:   mocks.NewMockDispatchRepository(ctrl),
		Search:     mocks.NewMockTaskSearch(ctrl),
		Queues:     mocks.NewMockQueueRepository(ctrl),
		Bulks:      mocks.NewMockBulkRepository(ctrl),
		Purges:     mocks.NewMockPurgeRepository(ctrl),
		Queue:      mocks.NewMockQueue(ctrl),
		Signals:    mocks.NewMockSignals(ctrl),
		Handler:    mocks.NewMockHandler(ctrl),
		Events:     mocks.NewMockEvents(ctrl),
		Clock:      mocks.NewMockClock(ctrl),
		Statistics: mocks.NewMockStatisticsRepository(ctrl),
	}
	p.Clock.EXPECT().Now().DoAndReturn(Now).AnyTimes()
	return p
}

// Now is the time of a synctest bubble, or of the machine outside of one.
func Now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// Any matches every argument.
var Any = gomock.Any()

// NewTask makes a task that waits and is marked as queued.
func NewTask(t *testing.T) *domain.Task {
	t.Helper()
	task, err := domain.NewTask(domain.TaskSpec{Message: "Hello World", MaxAttempts: new(3)}, Now())
	Must(t, err)
	task.MarkStored()
	return task
}

// Entry is the hint for a task in the default queue.
func Entry(id domain.TaskID, queuedAt time.Time) application.Entry {
	return application.Entry{Lane: DefaultLane, ID: id, QueuedAt: queuedAt}
}

// DefaultLane is the list of a task that says nothing.
var DefaultLane = application.Lane{Queue: domain.DefaultQueue}

// Claimed makes a task that worker "w" has claimed for a minute.
func Claimed(t *testing.T) *domain.Task {
	t.Helper()
	return Changed(t, NewTask(t), func(task *domain.Task) error {
		return task.Claim(domain.Claim{Worker: "w", Timeout: time.Minute}, Now())
	})
}

// Failed makes a task whose attempts are spent.
func Failed(t *testing.T) *domain.Task {
	t.Helper()
	return Changed(t, Claimed(t), func(task *domain.Task) error {
		return task.Fail(1, domain.Failure{Reason: "no", Permanent: true}, RetryPolicy, 0, Now())
	})
}

// Canceled makes a task that was canceled.
func Canceled(t *testing.T) *domain.Task {
	t.Helper()
	return Changed(t, NewTask(t), func(task *domain.Task) error { return task.Cancel(Now()) })
}

// Changed returns a copy of the task after the change, as a store has it.
func Changed(t *testing.T, task *domain.Task, change func(*domain.Task) error) *domain.Task {
	t.Helper()
	task = task.Clone()
	Must(t, change(task))
	task.MarkStored()
	return task
}

// Must fails the test if there is an error.
func Must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Same fails the test unless got is what is wanted.
func Same[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// Equal does so for what is made of parts.
func Equal[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// WantCode fails the test unless err is a domain error of that code.
func WantCode(t *testing.T, err error, code domain.Code) *domain.Error {
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

// WantError fails the test unless err is, or wraps, the wanted one.
func WantError(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
}

// Record is a list that grows while others read it.
type Record[T any] struct {
	mu  sync.Mutex
	all []T
}

// Add appends to the list.
func (r *Record[T]) Add(x T) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, x)
}

// List returns what was added so far, in order.
func (r *Record[T]) List() []T {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.all)
}

// Last returns what was added last, the zero value if nothing was.
func (r *Record[T]) Last() (x T) {
	if all := r.List(); len(all) > 0 {
		x = all[len(all)-1]
	}
	return x
}

// UntilEnded is a call that hangs until its context ends.
func UntilEnded(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// ByID compares ids for slices.SortFunc.
func ByID(a, b domain.TaskID) int { return slices.Compare(a[:], b[:]) }

// NewTasks makes n tasks.
func NewTasks(t *testing.T, n int) []*domain.Task {
	t.Helper()
	tasks := make([]*domain.Task, n)
	for i := range tasks {
		tasks[i] = NewTask(t)
	}
	return tasks
}

// Pass lets time pass, and all that is to happen by then.
func Pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
