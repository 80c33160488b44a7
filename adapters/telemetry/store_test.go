package telemetry_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/millrace/millrace/adapters/telemetry"
	"github.com/millrace/millrace/domain"
)

func TestStore_LogsOnceThatItIsUnavailableAndOnceThatItIsBack(t *testing.T) {
	unavailable := fmt.Errorf("list: %w", domain.ErrUnavailable)
	for name, back := range map[string]error{"a success": nil, "a refusal": domain.ErrConflict} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			store := telemetry.NewStore(slog.New(slog.NewTextHandler(&log, nil)))
			calls := func(want string, results ...error) {
				t.Helper()
				log.Reset()
				for _, err := range results {
					store.StoreCalled(t.Context(), err)
				}
				if got := log.String(); want == "" && got != "" || !strings.Contains(got, want) || strings.Count(got, "\n") > 1 {
					t.Errorf("after %v the log is %q, want one line with %q", results, got, want)
				}
			}
			calls("", nil, domain.ErrTaskNotFound)
			calls(`level=WARN msg="store failing, answering 503"`, unavailable, unavailable)
			calls("", context.Canceled, unavailable, fmt.Errorf("a defect"))
			calls(`level=INFO msg="store working again"`, back, nil)
			calls(`level=WARN msg="store failing, answering 503"`, unavailable)
		})
	}
}
