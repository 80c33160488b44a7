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

var submitLimits = application.SubmitLimits{MessageBytes: 16, MaxAttempts: 7}

func submitTask(p *ports) *application.SubmitTask {
	return application.NewSubmitTask(p.tasks, p.queue, p.clock, submitLimits)
}

func TestSubmitTask_StoresTheTaskBeforeItPushesIt(t *testing.T) {
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
				same(t, "entry", entries[0], application.Entry{ID: stored.ID(), QueuedAt: now()})
				return nil
			}),
		)

		task, err := submitTask(p).Run(t.Context(), application.SubmitTaskInput{Message: "Hello World"})

		must(t, err)
		same(t, "task", task.State(), stored.State())
		same(t, "message", task.Message(), "Hello World")
		same(t, "status", task.Status(), domain.StatusPending)
		same(t, "max attempts", task.State().MaxAttempts, submitLimits.MaxAttempts)
		same(t, "created at", task.State().CreatedAt, now())
	})
}

func TestSubmitTask_PushesNothingWhenTheTaskCannotBeStored(t *testing.T) {
	p := newPorts(t)
	p.tasks.EXPECT().Add(anyArg, anyArg).Return(domain.ErrUnavailable)

	task, err := submitTask(p).Run(t.Context(), application.SubmitTaskInput{Message: "Hello World"})

	wantError(t, err, domain.ErrUnavailable)
	if task != nil {
		t.Errorf("got task %v, want none", task)
	}
}

func TestSubmitTask_AcceptsTheTaskWhenThePushFails(t *testing.T) {
	p := newPorts(t)
	p.tasks.EXPECT().Add(anyArg, anyArg).Return(nil)
	p.queue.EXPECT().Push(anyArg, anyArg).Return(domain.ErrUnavailable)

	_, err := submitTask(p).Run(t.Context(), application.SubmitTaskInput{Message: "Hello World"})

	must(t, err)
}

func TestSubmitTask_WaitsTwoSecondsForAPushThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPorts(t)
		p.tasks.EXPECT().Add(anyArg, anyArg).Return(nil)
		p.queue.EXPECT().Push(anyArg, anyArg).DoAndReturn(func(ctx context.Context, _ ...application.Entry) error {
			return untilEnded(ctx)
		})
		begun := time.Now()

		_, err := submitTask(p).Run(t.Context(), application.SubmitTaskInput{Message: "Hello World"})

		must(t, err)
		same(t, "time taken", time.Since(begun), 2*time.Second)
	})
}

func TestSubmitTask_PushesTheTaskOfAClientThatHangsUpAfterTheCommit(t *testing.T) {
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

	_, err := submitTask(p).Run(ctx, application.SubmitTaskInput{Message: "Hello World"})

	must(t, err)
}

func TestSubmitTask_RefusesWhatCannotBeStoredAsItIs(t *testing.T) {
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
			_, err := submitTask(newPorts(t)).Run(t.Context(), application.SubmitTaskInput{Message: c.message})

			e := wantCode(t, err, c.code)
			if len(e.Fields) != 1 || e.Fields[0].Field != "message" {
				t.Errorf("fields: got %v, want message", e.Fields)
			}
		})
	}
}

func TestSubmitTask_AcceptsAMessageOfTheGreatestLength(t *testing.T) {
	p := newPorts(t)
	p.tasks.EXPECT().Add(anyArg, anyArg).Return(nil)
	p.queue.EXPECT().Push(anyArg, anyArg).Return(nil)

	_, err := submitTask(p).Run(t.Context(), application.SubmitTaskInput{Message: strings.Repeat("x", submitLimits.MessageBytes)})

	must(t, err)
}
