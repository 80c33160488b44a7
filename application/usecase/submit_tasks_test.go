package usecase_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/mock/gomock"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/usecase"
	"github.com/millrace/millrace/domain"
	"github.com/millrace/millrace/test/apptest"
)

var submitLimits = usecase.SubmitLimits{MessageBytes: 16, MaxAttempts: 7, KeyLife: 24 * time.Hour}

func submitTasks(p *apptest.Ports) *usecase.SubmitTasks {
	return usecase.NewSubmitTasks(p.Tasks, p.Queue, p.Clock, application.NoEvents{}, submitLimits)
}

// one is a request for one task.
func one(message string) usecase.SubmitTasksInput {
	return usecase.SubmitTasksInput{Tasks: []domain.TaskSpec{{Message: message}}}
}

func TestSubmitTasks_StoresTheTaskBeforeItPushesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := apptest.NewPorts(t)
		var stored *domain.Task
		gomock.InOrder(
			p.Tasks.EXPECT().Add(apptest.Any, apptest.Any).DoAndReturn(func(_ context.Context, tasks ...*domain.Task) error {
				stored = tasks[0].Clone()
				return nil
			}),
			p.Queue.EXPECT().Push(apptest.Any, apptest.Any).DoAndReturn(func(_ context.Context, entries ...application.Entry) error {
				apptest.Same(t, "entries", len(entries), 1)
				apptest.Same(t, "entry", entries[0], apptest.Entry(stored.ID(), apptest.Now()))
				return nil
			}),
		)

		got, err := submitTasks(p).Run(t.Context(), one("Hello World"))

		apptest.Must(t, err)
		apptest.Same(t, "tasks", len(got.Tasks), 1)
		task := got.Tasks[0]
		apptest.Equal(t, "task", task.State(), stored.State())
		apptest.Same(t, "message", task.Message(), "Hello World")
		apptest.Same(t, "status", task.Status(), domain.StatusPending)
		apptest.Same(t, "max attempts", task.State().MaxAttempts, submitLimits.MaxAttempts)
		apptest.Same(t, "created at", task.State().CreatedAt, apptest.Now())
	})
}

func TestSubmitTasks_PushesNothingWhenTheTaskCannotBeStored(t *testing.T) {
	p := apptest.NewPorts(t)
	p.Tasks.EXPECT().Add(apptest.Any, apptest.Any).Return(domain.ErrUnavailable)

	got, err := submitTasks(p).Run(t.Context(), one("Hello World"))

	apptest.WantError(t, err, domain.ErrUnavailable)
	apptest.Same(t, "tasks", len(got.Tasks), 0)
}

func TestSubmitTasks_AcceptsTheTaskWhenThePushFails(t *testing.T) {
	p := apptest.NewPorts(t)
	p.Tasks.EXPECT().Add(apptest.Any, apptest.Any).Return(nil)
	p.Queue.EXPECT().Push(apptest.Any, apptest.Any).Return(domain.ErrUnavailable)

	_, err := submitTasks(p).Run(t.Context(), one("Hello World"))

	apptest.Must(t, err)
}

func TestSubmitTasks_WaitsTwoSecondsForAPushThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := apptest.NewPorts(t)
		p.Tasks.EXPECT().Add(apptest.Any, apptest.Any).Return(nil)
		p.Queue.EXPECT().Push(apptest.Any, apptest.Any).DoAndReturn(func(ctx context.Context, _ ...application.Entry) error {
			return apptest.UntilEnded(ctx)
		})
		begun := time.Now()

		_, err := submitTasks(p).Run(t.Context(), one("Hello World"))

		apptest.Must(t, err)
		apptest.Same(t, "time taken", time.Since(begun), 2*time.Second)
	})
}

func TestSubmitTasks_PushesTheTaskOfAClientThatHangsUpAfterTheCommit(t *testing.T) {
	p := apptest.NewPorts(t)
	ctx, hangUp := context.WithCancel(t.Context())
	p.Tasks.EXPECT().Add(apptest.Any, apptest.Any).DoAndReturn(func(context.Context, ...*domain.Task) error {
		hangUp()
		return nil
	})
	p.Queue.EXPECT().Push(apptest.Any, apptest.Any).DoAndReturn(func(ctx context.Context, _ ...application.Entry) error {
		apptest.Same(t, "end of the push's context", ctx.Err(), nil)
		return nil
	})

	_, err := submitTasks(p).Run(ctx, one("Hello World"))

	apptest.Must(t, err)
}

func TestSubmitTasks_RefusesWhatCannotBeStoredAsItIs(t *testing.T) {
	for name, c := range map[string]struct {
		message string
		code    domain.Code
	}{
		"Empty":   {"", domain.CodeInvalid},
		"TooLong": {strings.Repeat("x", submitLimits.MessageBytes+1), domain.CodeTooLarge},
		"NUL":     {"a\x00b", domain.CodeInvalid},
		"NotUTF8": {"a\xffb", domain.CodeInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := submitTasks(apptest.NewPorts(t)).Run(t.Context(), one(c.message))

			e := apptest.WantCode(t, err, c.code)
			if len(e.Fields) != 1 || e.Fields[0].Field != "message" {
				t.Errorf("fields: got %v, want message", e.Fields)
			}
		})
	}
}

func TestSubmitTasks_AcceptsAMessageOfTheGreatestLength(t *testing.T) {
	p := apptest.NewPorts(t)
	p.Tasks.EXPECT().Add(apptest.Any, apptest.Any).Return(nil)
	p.Queue.EXPECT().Push(apptest.Any, apptest.Any).Return(nil)

	_, err := submitTasks(p).Run(t.Context(), one(strings.Repeat("x", submitLimits.MessageBytes)))

	apptest.Must(t, err)
}
