package telemetry_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/adapters/telemetry"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

func TestLogs_TellOfAnAttemptAtTheLevelThatItDeserves(t *testing.T) {
	completed := func(task *domain.Task) error { return task.Complete(1, "", time.Now()) }
	failed := func(permanent bool) func(task *domain.Task) error {
		return func(task *domain.Task) error {
			return task.Fail(1, domain.Failure{Reason: "no", Permanent: permanent}, domain.RetryPolicy{}, 0, time.Now())
		}
	}
	for name, c := range map[string]struct {
		end   func(*domain.Task) error
		err   error
		level slog.Level
	}{
		"Completed":  {completed, nil, slog.LevelDebug},
		"TriedAgain": {failed(false), errors.New("no"), slog.LevelInfo},
		"Failed":     {failed(true), errors.New("no"), slog.LevelWarn},
	} {
		t.Run(name, func(t *testing.T) {
			task := claimed(t)
			if err := c.end(task); err != nil {
				t.Fatal(err)
			}
			for _, least := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
				var out bytes.Buffer
				events := telemetry.NewLogs(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: least})))
				events.AttemptStarting(t.Context(), task, time.Millisecond)
				events.AttemptEnded(t.Context(), task, application.AttemptEnd{Outcome: task.LastOutcome(), Began: true, Took: time.Second, Err: c.err})

				if got, want := strings.Contains(out.String(), "attempt started"), least == slog.LevelDebug; got != want {
					t.Errorf("at level %s the start is told: %t, want %t", least, got, want)
				}
				if got, want := strings.Contains(out.String(), "level="+c.level.String()+` msg="attempt ended" task=`+task.ID().String()), least <= c.level; got != want {
					t.Errorf("at level %s the end is told: %t, want %t\n%s", least, got, want, out.String())
				}
				if got, want := strings.Contains(out.String(), "error=no"), c.err != nil && least <= c.level; got != want {
					t.Errorf("at level %s the error is told: %t, want %t", least, got, want)
				}
			}
		})
	}
}

// claimed makes a task in its first attempt.
func claimed(t testing.TB) *domain.Task {
	t.Helper()
	task, err := domain.NewTask(domain.TaskSpec{Message: "m", MaxAttempts: new(3)}, time.Now())
	if err == nil {
		err = task.Claim(domain.Claim{Worker: "w", Timeout: time.Minute}, time.Now())
	}
	if err != nil {
		t.Fatal(err)
	}
	return task
}

func TestLogs_TellOfATaskThatIsPassedOverOnce(t *testing.T) {
	var out bytes.Buffer
	events := telemetry.NewLogs(slog.New(slog.NewTextHandler(&out, nil)))
	one, other := domain.NewTaskID(time.Now()), domain.NewTaskID(time.Now())
	for _, id := range []domain.TaskID{one, one, other, one, other} {
		events.TaskPassed(t.Context(), application.SweepDue, id, errors.New("no"))
	}
	if n := strings.Count(out.String(), "\n"); n != 2 {
		t.Errorf("%d lines, want one for each task:\n%s", n, out.String())
	}
}

// Not all that sweeps change are tasks.
func TestLogs_CallKeysNoTasks(t *testing.T) {
	var out bytes.Buffer
	logs := telemetry.NewLogs(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})))
	logs.Swept(t.Context(), application.SweepKeys, 3)
	if !strings.HasSuffix(out.String(), "level=DEBUG msg=swept sweep=keys n=3\n") {
		t.Error(out.String())
	}
}
