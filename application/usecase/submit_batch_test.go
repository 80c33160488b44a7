package usecase_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/usecase"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/apptest"
)

// batch is a request for tasks with these messages.
func batch(messages ...string) usecase.SubmitTasksInput {
	in := usecase.SubmitTasksInput{Batch: true}
	for _, m := range messages {
		in.Tasks = append(in.Tasks, domain.TaskSpec{Message: m})
	}
	return in
}

// wantInvalid fails the test unless err is about these fields, in that order.
func wantInvalid(t *testing.T, err error, fields ...string) {
	t.Helper()
	var got []string
	for _, f := range apptest.WantCode(t, err, domain.CodeInvalid).Fields {
		got = append(got, f.Field)
	}
	apptest.Equal(t, "fields", got, fields)
}

func TestSubmitTasks_StoresABatchAtOnceAndPushesItInOrder(t *testing.T) {
	p := apptest.NewPorts(t)
	var stored, pushed []domain.TaskID
	p.Tasks.EXPECT().Add(apptest.Any, apptest.Any).DoAndReturn(func(_ context.Context, tasks ...*domain.Task) error {
		for _, task := range tasks {
			stored = append(stored, task.ID())
		}
		return nil
	})
	p.Queue.EXPECT().Push(apptest.Any, apptest.Any).DoAndReturn(func(_ context.Context, entries ...application.Entry) error {
		for _, e := range entries {
			pushed = append(pushed, e.ID)
		}
		return nil
	})

	got, err := submitTasks(p).Run(t.Context(), batch("a", "b", "c"))

	apptest.Must(t, err)
	apptest.Same(t, "replayed", got.Replayed, false)
	var answered []domain.TaskID
	for i, task := range got.Tasks {
		apptest.Same(t, "message", task.Message(), []string{"a", "b", "c"}[i])
		answered = append(answered, task.ID())
	}
	if len(answered) != 3 || !slices.Equal(stored, answered) || !slices.Equal(pushed, answered) {
		t.Errorf("stored %v, pushed %v, answered %v", stored, pushed, answered)
	}
}

func TestSubmitTasks_RefusesABatchForAnyOfItsTasksAndNamesAllThatIsWrong(t *testing.T) {
	in := batch("good", "", strings.Repeat("x", submitLimits.MessageBytes+1), "good", "good")
	in.Tasks[1].Priority = 10
	in.Tasks[3].Metadata = map[string]string{"": ""}
	in.Tasks[4].RunAt, in.Tasks[4].Delay = new(apptest.Now()), new(time.Second)

	got, err := submitTasks(apptest.NewPorts(t)).Run(t.Context(), in) // nothing is expected to be stored

	wantInvalid(t, err, "tasks/1/message", "tasks/1/priority", "tasks/2/message", "tasks/3/metadata/", "tasks/4/delay")
	apptest.Same(t, "tasks", len(got.Tasks), 0)
}

func TestSubmitTasks_TakesAsManyAsABatchMayHaveAndNoMore(t *testing.T) {
	for n, takes := range map[int]bool{0: false, 1: true, usecase.MaxBatch: true, usecase.MaxBatch + 1: false} {
		p, in := apptest.NewPorts(t), batch(slices.Repeat([]string{"m"}, n)...)
		if takes {
			p.Tasks.EXPECT().Add(apptest.Any, apptest.Any).Return(nil)
			p.Queue.EXPECT().Push(apptest.Any, apptest.Any).Return(nil)
		}
		got, err := submitTasks(p).Run(t.Context(), in)
		if takes {
			apptest.Must(t, err)
			apptest.Same(t, "tasks", len(got.Tasks), n)
			continue
		}
		wantInvalid(t, err, "tasks")
	}
}

func TestSubmitTasks_NamesEveryFieldOfASingleTaskThatIsWrong(t *testing.T) {
	in := one("")
	in.Tasks[0].Queue, in.Tasks[0].MaxAttempts = new(domain.QueueName("No Queue")), new(1001)

	_, err := submitTasks(apptest.NewPorts(t)).Run(t.Context(), in)

	wantInvalid(t, err, "message", "queue", "max_attempts")
}

func TestSubmitTasks_NamesTasksThatCouldNotBeReadAmongAllThatIsWrong(t *testing.T) {
	in := batch("good", "", "good", "")
	in.Unreadable = map[int]domain.FieldError{0: {Detail: "must be an object"}, 3: {Field: "message", Detail: "must be a string"}}

	_, err := submitTasks(apptest.NewPorts(t)).Run(t.Context(), in)

	wantInvalid(t, err, "tasks/0", "tasks/1/message", "tasks/3/message")
}

func TestSubmitTasks_TakesTheSettingForATaskThatDoesNotSayHowOften(t *testing.T) {
	p, in := apptest.NewPorts(t), batch("a", "b")
	in.Tasks[1].MaxAttempts = new(1)
	p.Tasks.EXPECT().Add(apptest.Any, apptest.Any).Return(nil)
	p.Queue.EXPECT().Push(apptest.Any, apptest.Any).Return(nil)

	got, err := submitTasks(p).Run(t.Context(), in)

	apptest.Must(t, err)
	apptest.Same(t, "the setting", got.Tasks[0].State().MaxAttempts, submitLimits.MaxAttempts)
	apptest.Same(t, "its own", got.Tasks[1].State().MaxAttempts, 1)
}

func TestSubmitTasks_PushesEachTaskToItsListAndWhatIsDelayedNotAtAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, in := apptest.NewPorts(t), batch("a", "b", "c", "d")
		in.Tasks[0].Queue, in.Tasks[0].Priority = new(domain.QueueName("mail")), 9
		in.Tasks[1].Delay = new(time.Minute)
		in.Tasks[2].RunAt = new(apptest.Now().Add(time.Hour))
		in.Tasks[3].RunAt = new(apptest.Now().Add(-time.Hour))
		var pushed []application.Entry
		p.Tasks.EXPECT().Add(apptest.Any, apptest.Any).Return(nil)
		p.Queue.EXPECT().Push(apptest.Any, apptest.Any).DoAndReturn(func(_ context.Context, entries ...application.Entry) error {
			pushed = entries
			return nil
		})

		got, err := submitTasks(p).Run(t.Context(), in)

		apptest.Must(t, err)
		apptest.Equal(t, "pushed", pushed, []application.Entry{
			{Lane: application.Lane{Queue: "mail", Priority: 9}, ID: got.Tasks[0].ID(), QueuedAt: apptest.Now()},
			apptest.Entry(got.Tasks[3].ID(), apptest.Now()),
		})
	})
}

func TestSubmitTasks_PushesNothingIfAllIsDelayed(t *testing.T) {
	p, in := apptest.NewPorts(t), one("m")
	in.Tasks[0].Delay = new(time.Minute)
	p.Tasks.EXPECT().Add(apptest.Any, apptest.Any).Return(nil) // a push is not expected

	_, err := submitTasks(p).Run(t.Context(), in)

	apptest.Must(t, err)
}

// keyed is the request under a key.
func keyed(in usecase.SubmitTasksInput) usecase.SubmitTasksInput {
	in.Owner, in.Key = "alice", "k-1"
	return in
}

func TestSubmitTasks_RemembersARequestThatHasAKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := apptest.NewPorts(t)
		p.Tasks.EXPECT().AddOnce(apptest.Any, apptest.Any, apptest.Any).DoAndReturn(
			func(_ context.Context, k application.IdempotencyKey, tasks ...*domain.Task) ([]*domain.Task, []domain.TaskID, error) {
				k.Fingerprint = [32]byte{}
				apptest.Same(t, "key", k, application.IdempotencyKey{
					Owner: "alice", Key: "k-1", Now: apptest.Now(), Expires: apptest.Now().Add(submitLimits.KeyLife),
				})
				apptest.Same(t, "tasks to store", len(tasks), 2)
				return nil, nil, nil
			})
		p.Queue.EXPECT().Push(apptest.Any, apptest.Any).Return(nil)

		got, err := submitTasks(p).Run(t.Context(), keyed(batch("a", "b")))

		apptest.Must(t, err)
		apptest.Same(t, "tasks", len(got.Tasks), 2)
		apptest.Same(t, "replayed", got.Replayed, false)
	})
}

func TestSubmitTasks_AnswersARepeatWithTheFirstTasksAsTheyAreAndPushesNothing(t *testing.T) {
	p, first := apptest.NewPorts(t), []*domain.Task{apptest.Canceled(t), apptest.Claimed(t)}
	p.Tasks.EXPECT().AddOnce(apptest.Any, apptest.Any, apptest.Any).Return(first, nil, nil)

	got, err := submitTasks(p).Run(t.Context(), keyed(batch("a", "b")))

	apptest.Must(t, err)
	apptest.Same(t, "replayed", got.Replayed, true)
	if !slices.Equal(got.Tasks, first) {
		t.Errorf("answered with %v, want the first tasks %v", got.Tasks, first)
	}
}

func TestSubmitTasks_PassesOnWhyAKeyedRequestWasNotStoredAndPushesNothing(t *testing.T) {
	for _, want := range []error{domain.ErrKeyReused, domain.ErrUnavailable, apptest.ErrBroken} {
		p := apptest.NewPorts(t)
		p.Tasks.EXPECT().AddOnce(apptest.Any, apptest.Any, apptest.Any).Return(nil, nil, want)

		got, err := submitTasks(p).Run(t.Context(), keyed(one("m")))

		apptest.WantError(t, err, want)
		apptest.Same(t, "tasks", len(got.Tasks), 0)
	}
}

func TestSubmitTasks_RemembersNothingOfARequestThatIsRefused(t *testing.T) {
	_, err := submitTasks(apptest.NewPorts(t)).Run(t.Context(), keyed(one(""))) // no call of a port is expected

	wantInvalid(t, err, "message")
}

// fingerprintOf returns what the request is remembered by.
func fingerprintOf(t *testing.T, in usecase.SubmitTasksInput) (sum [32]byte) {
	t.Helper()
	p := apptest.NewPorts(t)
	p.Tasks.EXPECT().AddOnce(apptest.Any, apptest.Any, apptest.Any).DoAndReturn(
		func(_ context.Context, k application.IdempotencyKey, _ ...*domain.Task) ([]*domain.Task, []domain.TaskID, error) {
			sum = k.Fingerprint
			return nil, nil, nil
		})
	p.Queue.EXPECT().Push(apptest.Any, apptest.Any).AnyTimes()
	_, err := submitTasks(p).Run(t.Context(), in)
	apptest.Must(t, err)
	return sum
}

func TestSubmitTasks_TellsRequestsApartByAllThatTheyAskFor(t *testing.T) {
	at := apptest.Now().Add(time.Hour)
	requests := map[string]usecase.SubmitTasksInput{"one task": keyed(one("m")), "a batch of one": keyed(batch("m"))}
	for name, change := range map[string]func(*domain.TaskSpec){
		"message":         func(s *domain.TaskSpec) { s.Message = "n" },
		"queue":           func(s *domain.TaskSpec) { s.Queue = new(domain.QueueName("mail")) },
		"priority":        func(s *domain.TaskSpec) { s.Priority = 1 },
		"another":         func(s *domain.TaskSpec) { s.Priority = 2 },
		"run_at":          func(s *domain.TaskSpec) { s.RunAt = new(at) },
		"a moment later":  func(s *domain.TaskSpec) { s.RunAt = new(at.Add(time.Microsecond)) },
		"a time past":     func(s *domain.TaskSpec) { s.RunAt = new(at.Add(-2 * time.Hour)) },
		"delay":           func(s *domain.TaskSpec) { s.Delay = new(time.Second) },
		"a longer delay":  func(s *domain.TaskSpec) { s.Delay = new(2 * time.Second) },
		"max_attempts":    func(s *domain.TaskSpec) { s.MaxAttempts = new(1) },
		"timeout":         func(s *domain.TaskSpec) { s.Timeout = new(time.Second) },
		"metadata":        func(s *domain.TaskSpec) { s.Metadata = map[string]string{"a": "b"} },
		"another value":   func(s *domain.TaskSpec) { s.Metadata = map[string]string{"a": "c"} },
		"another key":     func(s *domain.TaskSpec) { s.Metadata = map[string]string{"b": "b"} },
		"more metadata":   func(s *domain.TaskSpec) { s.Metadata = map[string]string{"a": "b", "b": "b"} },
		"values swapped":  func(s *domain.TaskSpec) { s.Metadata = map[string]string{"a": "c", "b": "b"} },
		"a shifted value": func(s *domain.TaskSpec) { s.Metadata = map[string]string{"ab": ""} },
	} {
		in := keyed(one("m"))
		change(&in.Tasks[0])
		requests[name] = in
	}
	for i, messages := range [][]string{{"m", "m"}, {"mm"}, {"m", "n"}, {"n", "m"}, {"m", "n", "m"}} {
		requests[fmt.Sprint("batch ", i)] = keyed(batch(messages...))
	}

	seen := map[[32]byte]string{}
	for name, in := range requests {
		sum := fingerprintOf(t, in)
		if other, ok := seen[sum]; ok {
			t.Errorf("the requests %q and %q are taken for the same", name, other)
		}
		seen[sum] = name
	}
}

// A repeat comes from another trace, and it does not matter how the same time is
// spelled, nor whether the default queue is named.
func TestSubmitTasks_TakesARepeatForTheSameRequest(t *testing.T) {
	first := one("m")
	first.Tasks[0].Metadata = map[string]string{"a": "1", "b": "2", "c": "3", "d": "4"}
	first.Tasks[0].RunAt = new(apptest.Now().Add(time.Hour))
	want := fingerprintOf(t, keyed(first))
	for name, change := range map[string]func(*usecase.SubmitTasksInput){
		"again": func(*usecase.SubmitTasksInput) {},
		"trace": func(in *usecase.SubmitTasksInput) {
			in.Tasks[0].TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
		},
		"zone": func(in *usecase.SubmitTasksInput) {
			in.Tasks[0].RunAt = new(in.Tasks[0].RunAt.In(time.FixedZone("", 7200)))
		},
		"key":   func(in *usecase.SubmitTasksInput) { in.Key = "k-2" },
		"queue": func(in *usecase.SubmitTasksInput) { in.Tasks[0].Queue = new(domain.DefaultQueue) },
	} {
		in := keyed(first)
		in.Tasks = slices.Clone(first.Tasks)
		change(&in)
		if fingerprintOf(t, in) != want {
			t.Errorf("%s: the repeat is taken for another request", name)
		}
	}
}
