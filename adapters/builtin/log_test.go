package builtin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/adapters/builtin"
	"github.com/millrace/millrace/domain"
)

func newTask(t *testing.T) *domain.Task {
	t.Helper()
	task, err := domain.NewTask(domain.TaskSpec{Message: "hello", MaxAttempts: new(1)}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return task
}

func TestLog_LogsTheTaskAndTakesItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, work := range []time.Duration{0, 3 * time.Second} {
			var out bytes.Buffer
			task, begun := newTask(t), time.Now()
			if _, err := builtin.NewLog(slog.New(slog.NewJSONHandler(&out, nil)), work).Handle(t.Context(), task); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(begun); took != work {
				t.Errorf("it took %s, not %s", took, work)
			}
			var line struct {
				Task, Message string
				Attempt       int
			}
			if err := json.Unmarshal(out.Bytes(), &line); err != nil || line.Task != task.ID().String() || line.Message != "hello" {
				t.Errorf("logged %q, %v", out.String(), err)
			}
		}
	})
}

func TestLog_EndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		why := errors.New("the worker ends")
		ctx, end := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { end(why) })
		begun := time.Now()
		_, err := builtin.NewLog(slog.New(slog.DiscardHandler), time.Hour).Handle(ctx, newTask(t))
		if !errors.Is(err, why) || time.Since(begun) != time.Second {
			t.Errorf("%v after %s", err, time.Since(begun))
		}
	})
}
