package telemetry_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/adapters/telemetry"
	"github.com/millrace/millrace/domain"
)

func TestLogs_ManyUnknownEntriesAreOneLineThatSaysWhatItLooksLike(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		events := telemetry.NewLogs(slog.New(slog.NewTextHandler(&out, nil)))
		drop := func(n int) {
			for range n {
				events.EntryDropped(t.Context(), domain.NewTaskID(time.Now()))
			}
		}
		want := func(lines, faults int) {
			t.Helper()
			if text := out.String(); strings.Count(text, "\n") != lines || strings.Count(text, "another database") != faults {
				t.Errorf("want %d lines, %d of them about another database:\n%s", lines, faults, text)
			}
		}
		drop(1)
		want(1, 0)
		time.Sleep(2 * time.Minute)
		drop(98)
		want(4, 1)
		time.Sleep(2 * time.Minute)
		drop(98)
		want(7, 2)
		if !strings.Contains(out.String(), "in_the_minute_before=95") {
			t.Errorf("the line does not count: %s", out.String())
		}
	})
}
