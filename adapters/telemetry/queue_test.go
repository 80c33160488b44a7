package telemetry_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/mock/gomock"

	"github.com/millrace/millrace/adapters/telemetry"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/mocks"
	"github.com/millrace/millrace/domain"
)

func TestQueue_TellsOnceThatItIsAwayHoweverItIsPushed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away := fmt.Errorf("push: %w", domain.ErrUnavailable)
		next := mocks.NewMockQueue(gomock.NewController(t))
		var log bytes.Buffer
		queue := telemetry.NewQueue(next, slog.New(slog.NewTextHandler(&log, nil)))
		one, other := application.Entry{ID: domain.TaskID{1}}, application.Entry{ID: domain.TaskID{2}}
		push := func(result error) {
			t.Helper()
			next.EXPECT().Push(gomock.Any(), one, other).Return(result)
			if err := queue.Push(t.Context(), one, other); err != result {
				t.Errorf("%v became %v", result, err)
			}
		}
		putBack := func(result error) {
			t.Helper()
			next.EXPECT().PutBack(gomock.Any(), one, other).Return(result)
			if err := queue.PutBack(t.Context(), one, other); err != result {
				t.Errorf("%v became %v", result, err)
			}
		}
		lines := func(want ...string) {
			t.Helper()
			got := strings.Split(strings.TrimSuffix(log.String(), "\n"), "\n")
			if len(got) != len(want) {
				t.Fatalf("the log: %q", got)
			}
			for i, line := range got {
				if !strings.Contains(line, want[i]) {
					t.Errorf("the log: %q, want %q", line, want[i])
				}
			}
			log.Reset()
		}
		push(nil)
		putBack(away)
		lines("level=WARN msg=\"push failing")
		push(away)
		putBack(away)
		putBack(nil) // maybe by chance
		time.Sleep(3 * time.Second)
		synctest.Wait()
		lines("level=INFO msg=\"push working again")
		push(nil)
		push(away)
		putBack(away)
		lines("level=WARN")
		push(nil)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		lines("level=INFO")
	})
}
