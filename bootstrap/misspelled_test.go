package bootstrap

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"testing"
)

func TestMisspelled_AreThoseThatAreNearlySettings(t *testing.T) {
	for name, want := range map[string]string{
		"HANDELR": "HANDLER", "HANDLE": "HANDLER", "Handlers": "HANDLERS", "QUEUE": "QUEUES", "LOGLEVEL": "LOG_LEVEL",
		"LISTEN_ADDRESS": "LISTEN_ADDR", "DATABASE_URI": "DATABASE_URL", "WORKER_QUEUE_MAX_SIZE": "WORKER_QUEUE_MAXSIZE",
		"RETRY_MAX": "RETRY_CAP", "API_KEY": "API_KEYS", "MILLRACE_DATABASE_URL": "DATABASE_URL",
		"MAX_ATTEMPT": "MAX_ATTEMPTS",

		"HANDLER": "", "HANDLERS": "", "ADMIN_ADDR": "", "PATH": "", "HOME": "", "PWD": "", "USER": "", "LANG": "", "PGPASSWORD": "",
		"QUIET": "", "MILLRACE_PORT": "", "MILLRACE_SERVICE_HOST": "", "DATABASE_HOST": "", "": "",
	} {
		found := misspelled([]string{name + "=x"})
		if got := len(found) == 1 && found[0] == (misspelling{name, want}); got != (want != "") || len(found) > 1 {
			t.Errorf("%s: %v, want %q", name, found, want)
		}
		if found := misspelled([]string{name + "="}); len(found) > 0 {
			t.Errorf("%s without a value: %v", name, found)
		}
	}
}

func TestWarnOfMisspelled_ShowsNoValue(t *testing.T) {
	var out bytes.Buffer
	WarnOfMisspelled([]string{"PATH=/bin", "QUEUE=s3cret", "HANDELR=s3cret"}, slog.New(slog.NewTextHandler(&out, nil)))
	lines := slices.Collect(strings.Lines(out.String()))
	if len(lines) != 2 || !strings.Contains(lines[0], "variable=HANDELR setting=HANDLER") || !strings.Contains(lines[1], "variable=QUEUE setting=QUEUES") ||
		strings.Contains(out.String(), "s3cret") {
		t.Errorf("%s", out.String())
	}
}
