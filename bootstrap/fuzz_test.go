package bootstrap

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
)

// Whatever the environment holds, the settings are either read, or refused with
// one line that shows no secret. An environment is written as lines that end with
// NUL, and rest is what follows the password in a URL, or the name in API_KEYS.
func FuzzSettings(f *testing.F) {
	const secret = "hunter2-hunter2"
	for _, seed := range []struct{ environ, rest string }{
		{"", "@host/db"},
		{"LISTEN_ADDR=:8000\x00ALLOW_ANONYMOUS=true", "@host:5432,host2:5433/db?target_session_attrs=any"},
		{"LISTEN_ADDR=[::1]:65536\x00LOG_LEVEL=loud", "@host/db?sslmode=%zz"},
		{"LEASE_TIMEOUT=1ns\x00WORKER_QUEUE_MAXSIZE=-1", "@h:port/db"},
		{"HANDLER=sleep:\n3s\x00MAX_ATTEMPTS=9999999999999999999999", "@[::1/0"},
		{"HANDLER=\xff\x00RETRY_BASE=1e3", "#?password=x"},
		{"HANDLER=exec:/no/such\n program 'x", "@host:1x/"},
		{"HANDLER=exec:sh -c x | y", "://"},
		{"\x00=\x00A\x00MIGRATE_ON_START=maybe", "\x7f@host"},
		{"ADMIN_ADDR=:\x00SHUTDOWN_TIMEOUT=-1s", ",a=b"},
	} {
		f.Add(seed.environ, seed.rest)
	}
	quiet := slog.New(slog.DiscardHandler)
	f.Fuzz(func(t *testing.T, environ, rest string) {
		if strings.Contains(environ, secret) {
			return // where no secret belongs
		}
		given := strings.Split(environ, "\x00")
		check := func(program string, err error) {
			if err == nil {
				return
			}
			if _, ok := errors.AsType[*SettingError](err); !ok {
				t.Errorf("%s with %q, %q: %v is no SettingError", program, given, rest, err)
			}
			if text := err.Error(); strings.ContainsAny(text, "\r\n") || strings.Contains(text, secret) {
				t.Errorf("%s with %q, %q: %q", program, given, rest, text)
			}
		}
		for _, env := range [][]string{
			{"DATABASE_URL=postgres://u:" + secret + rest},
			{"QUEUE_URL=redis://u:" + secret + rest},
			{"DATABASE_URL=" + secret + rest},
			{"QUEUE_URL=" + secret + rest},
			{"API_KEYS=" + secret + rest},
			{"API_KEYS=@" + secret + rest},
			{"API_KEYS=name=" + secret + rest},
			{"WEBHOOK_SECRET=" + secret + rest},
			{"WEBHOOK_SECRET=whsec_" + secret + rest},
			{"HANDLER=https://u:" + secret + rest},
			{"HANDLER=ftp://" + secret + rest},
		} {
			env = append(append([]string{"HANDLER=noop:"}, env...), given...)
			api, err := LoadAPI(env)
			if check("api", err); err == nil {
				_, closeAll, err := NewAPI(api, quiet)
				if check("api", err); err == nil {
					closeAll()
				}
			}
			worker, err := LoadWorker(env)
			if check("worker", err); err == nil {
				_, closeAll, err := NewWorker(worker, quiet)
				if check("worker", err); err == nil {
					closeAll()
				}
			}
			_, err = LoadEmbedded(env)
			check("millrace", err)
		}
	})
}
