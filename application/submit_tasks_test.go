package application_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/mock/gomock"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

var submitLimits = application.SubmitLimits{MessageBytes: 16, MaxAttempts: 7, KeyLife: 24 * time.Hour}

func submitTasks(p *ports) *application.SubmitTasks {
	return application.NewSubmitTasks(p.tasks, p.queue, p.clock, submitLimits)
}

// one is a request for one task.
func one(message string) application.SubmitTasksInput {
	return application.SubmitTasksInput{Tasks: []domain.TaskSpec{{Message: message}}}
}

func TestSubmitTasks_StoresTheTaskBeforeItPushesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPorts(t)
		var stored *domain.Task
		gomock.InOrder(
			p.tasks.EXPECT().Add(anyArg, anyArg).DoAndReturn(func(_ context.Context, tasks ...*domain.Task) error {
				stored = tasks[0].Clone()
				return nil
			}),
			p.queue.EXPECT().Push(anyArg, anyArg).DoAndReturn(func(_ context.Context, entries ...application.Entry) error {
				same(t, "entries", len(entries), 1)
				same(t, "entry", entries[0], entry(stored.ID(), now()))
				return nil
			}),
		)

		got, err := submitTasks(p).Run(t.Context(), one("Hello World"))

		must(t, err)
		same(t, "tasks", len(got.Tasks), 1)
		task := got.Tasks[0]
		alike(t, "task", task.State(), stored.State())
		same(t, "message", task.Message(), "Hello World")
		same(t, "status", task.Status(), domain.StatusPending)
		same(t, "max attempts", task.State().MaxAttempts, submitLimits.MaxAttempts)
		same(t, "created at", task.State().CreatedAt, now())
	})
}

func TestSubmitTasks_PushesNothingWhenTheTaskCannotBeStored(t *testing.T) {
	p := newPorts(t)
	p.tasks.EXPECT().Add(anyArg, anyArg).Return(domain.ErrUnavailable)

	got, err := submitTasks(p).Run(t.Context(), one("Hello World"))

	wantError(t, err, domain.ErrUnavailable)
	same(t, "tasks", len(got.Tasks), 0)
}

func TestSubmitTasks_AcceptsTheTaskWhenThePushFails(t *testing.T) {
	p := newPorts(t)
	p.tasks.EXPECT().Add(anyArg, anyArg).Return(nil)
	p.queue.EXPECT().Push(anyArg, anyArg).Return(domain.ErrUnavailable)

	_, err := submitTasks(p).Run(t.Context(), one("Hello World"))

	must(t, err)
}

func TestSubmitTasks_WaitsTwoSecondsForAPushThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPorts(t)
		p.tasks.EXPECT().Add(anyArg, anyArg).Return(nil)
		p.queue.EXPECT().Push(anyArg, anyArg).DoAndReturn(func(ctx context.Context, _ ...application.Entry) error {
			return untilEnded(ctx)
		})
		begun := time.Now()

		_, err := submitTasks(p).Run(t.Context(), one("Hello World"))

		must(t, err)
		same(t, "time taken", time.Since(begun), 2*time.Second)
	})
}

func TestSubmitTasks_PushesTheTaskOfAClientThatHangsUpAfterTheCommit(t *testing.T) {
	p := newPorts(t)
	ctx, hangUp := context.WithCancel(t.Context())
	p.tasks.EXPECT().Add(anyArg, anyArg).DoAndReturn(func(context.Context, ...*domain.Task) error {
		hangUp()
		return nil
	})
	p.queue.EXPECT().Push(anyArg, anyArg).DoAndReturn(func(ctx context.Context, _ ...application.Entry) error {
		same(t, "end of the push's context", ctx.Err(), nil)
		return nil
	})

	_, err := submitTasks(p).Run(ctx, one("Hello World"))

	must(t, err)
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
			_, err := submitTasks(newPorts(t)).Run(t.Context(), one(c.message))

			e := wantCode(t, err, c.code)
			if len(e.Fields) != 1 || e.Fields[0].Field != "message" {
				t.Errorf("fields: got %v, want message", e.Fields)
			}
		})
	}
}

func TestSubmitTasks_AcceptsAMessageOfTheGreatestLength(t *testing.T) {
	p := newPorts(t)
	p.tasks.EXPECT().Add(anyArg, anyArg).Return(nil)
	p.queue.EXPECT().Push(anyArg, anyArg).Return(nil)

	_, err := submitTasks(p).Run(t.Context(), one(strings.Repeat("x", submitLimits.MessageBytes)))

	must(t, err)
}
