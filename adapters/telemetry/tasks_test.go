package telemetry_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.uber.org/mock/gomock"

	"github.com/millrace/millrace/adapters/telemetry"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/mocks"
	"github.com/millrace/millrace/domain"
)

func TestTaskRepository_TellsOnceThatTheStoreIsAwayAndOnceThatItIsBack(t *testing.T) {
	task, err := domain.NewTask(domain.TaskSpec{Message: "x", MaxAttempts: 1}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	away := fmt.Errorf("add: %w", domain.ErrUnavailable)
	for name, back := range map[string]error{"a success": nil, "a refusal": domain.ErrConflict} {
		t.Run(name, func(t *testing.T) {
			store := mocks.NewMockTaskRepository(gomock.NewController(t))
			var log bytes.Buffer
			tasks := telemetry.NewTaskRepository(store, slog.New(slog.NewTextHandler(&log, nil)))
			key := application.IdempotencyKey{Key: "k"}
			store.EXPECT().AddOnce(gomock.Any(), key, task).Return(nil, away)
			if _, err := tasks.AddOnce(t.Context(), key, task); err != away {
				t.Errorf("%v became %v", away, err)
			}
			for _, result := range []error{away, context.Canceled, away, back, back} {
				store.EXPECT().Save(gomock.Any(), task).Return(result)
				if err := tasks.Save(t.Context(), task); err != result {
					t.Errorf("%v became %v", result, err)
				}
			}
			store.EXPECT().AddOnce(gomock.Any(), key, task).Return([]*domain.Task{task}, nil)
			if first, err := tasks.AddOnce(t.Context(), key, task); len(first) != 1 || err != nil {
				t.Errorf("the first tasks of the key are %v, error %v", first, err)
			}
			lines := strings.Split(strings.TrimSpace(log.String()), "\n")
			if len(lines) != 2 || !strings.Contains(lines[0], "store failing, answering 503") || !strings.Contains(lines[1], "store working again") {
				t.Errorf("the log: %q", lines)
			}
		})
	}
}
