package telemetry_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/adapters/telemetry"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/usecase"
	"github.com/millrace/millrace/domain"
)

func TestStore_LogsOnceThatItIsUnavailableAndOnceThatItIsBack(t *testing.T) {
	unavailable := fmt.Errorf("list: %w", domain.ErrUnavailable)
	for name, back := range map[string]error{"a success": nil, "a refusal": domain.ErrConflict} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				store := telemetry.NewStore(slog.New(slog.NewTextHandler(&log, nil)), usecase.NewExperience())
				calls := func(want string, results ...error) {
					t.Helper()
					log.Reset()
					for _, err := range results {
						store.StoreCalled(t.Context(), application.CallRead, err)
					}
					if got := log.String(); want == "" && got != "" || !strings.Contains(got, want) || strings.Count(got, "\n") > 1 {
						t.Errorf("after %v the log is %q, want one line with %q", results, got, want)
					}
				}
				calls("", nil, domain.ErrTaskNotFound)
				calls(`level=WARN msg="store failing, answering 503"`, unavailable, unavailable)
				calls("", context.Canceled, unavailable, fmt.Errorf("a defect"))
				calls("", back, nil) // maybe by chance
				store.StoreCalled(t.Context(), application.CallSubmit, nil)
				time.Sleep(3 * time.Second)
				synctest.Wait()
				if got := log.String(); strings.Count(got, `level=INFO msg="store working again" call=read after=0s`) != 1 {
					t.Errorf("after a while the log is %q", got)
				}
				calls(`level=WARN msg="store failing, answering 503" call=read`, unavailable)
			})
		})
	}
}

// What fails and succeeds by turns fails, for each kind of call apart.
func TestStore_LogsAFlappingStoreOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log lockedBuffer
		store := telemetry.NewStore(slog.New(slog.NewTextHandler(&log, nil)), usecase.NewExperience())
		for range 166 {
			store.StoreCalled(t.Context(), application.CallSubmit, domain.ErrUnavailable)
			store.StoreCalled(t.Context(), application.CallSubmit, nil)
			store.StoreCalled(t.Context(), application.CallRead, nil)
			time.Sleep(84 * time.Millisecond)
		}
		synctest.Wait()
		if n := strings.Count(log.String(), "\n"); n != 1 {
			t.Errorf("%d lines", n)
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if n := strings.Count(log.String(), "store working again\" call=submit"); n != 1 {
			t.Errorf("the end is logged %d times: %s", n, log.String())
		}
	})
}

// lockedBuffer may be read while it is written.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
