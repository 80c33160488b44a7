package bootstrap

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/domain"
)

func TestRetention_IsReadByAllPrograms(t *testing.T) {
	day := domain.Keep(24 * time.Hour)
	for text, want := range map[string]domain.Retention{
		"":                                      defaultRetention,
		"RETENTION=never":                       {Completed: domain.KeepForever, Canceled: domain.KeepForever, Failed: domain.KeepForever},
		"RETENTION=completed=1d":                {Completed: day, Canceled: 7 * day, Failed: 30 * day},
		"RETENTION=failed=never, completed=36h": {Completed: 36 * day / 24, Canceled: 7 * day, Failed: domain.KeepForever},
	} {
		cfg, err := LoadAPI(strings.Fields(strings.ReplaceAll(text, ", ", ",")))
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if got, err := provideRetention(cfg.RetentionConfig); err != nil || got != want {
			t.Errorf("%q is %+v, %v; want %+v", text, got, err, want)
		}
	}
}

func TestRetention_AWrongOneIsNamedInOneLine(t *testing.T) {
	for _, text := range []string{"completed=x", "pending=7d", "completed=7d,completed=8d", "7", "completed=0s", "done", "completed=7d\nfailed=1d"} {
		environ := []string{"HANDLER=noop:", "RETENTION=" + text}
		for program, load := range map[string]func() error{
			"api":      func() error { _, err := LoadAPI(environ); return err },
			"worker":   func() error { _, err := LoadWorker(environ); return err },
			"millrace": func() error { _, err := LoadEmbedded(environ); return err },
		} {
			err := load()
			wrong, ok := errors.AsType[*SettingError](err)
			if !ok || wrong.Name != "RETENTION" || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "completed=7d,failed=never") {
				t.Errorf("%s with RETENTION=%q: %v", program, text, err)
			}
		}
	}
}
