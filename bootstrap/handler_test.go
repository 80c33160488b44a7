package bootstrap

import (
	"encoding/base64"
	"errors"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/adapters/builtin"
	"github.com/millrace/millrace/adapters/command"
	"github.com/millrace/millrace/adapters/webhook"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// whsec makes a signing secret.
func whsec(fill string) string {
	return "whsec_" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat(fill, 32)))
}

// loadHandler reads the settings of a worker and makes its handler.
func loadHandler(t *testing.T, env ...string) (application.Handler, error) {
	t.Helper()
	cfg, err := LoadWorker(env)
	if err != nil {
		return nil, err
	}
	h, closeHandler, err := newHandler(cfg.WorkConfig, slog.New(slog.DiscardHandler))
	if err == nil {
		t.Cleanup(closeHandler)
	}
	return h, err
}

func isA[H application.Handler](h application.Handler) bool { _, ok := h.(H); return ok }

func TestHandler_IsWhatTheSettingNames(t *testing.T) {
	a, b := whsec("a"), whsec("b")
	for _, c := range []struct {
		env []string
		is  func(application.Handler) bool
	}{
		{[]string{"HANDLER=log:"}, isA[*builtin.Log]},
		{[]string{"HANDLER=log:1s"}, isA[*builtin.Log]},
		{[]string{"HANDLER=noop:"}, isA[builtin.Noop]},
		{[]string{"HANDLER=sleep:3s"}, isA[builtin.Sleep]},
		{[]string{"HANDLER=http://127.0.0.1:9000/tasks"}, isA[*webhook.Handler]},
		{[]string{"HANDLER=https://user:password@host/tasks?a=b", "WEBHOOK_SECRET=" + a}, isA[*webhook.Handler]},
		{[]string{"HANDLER=https://host", "WEBHOOK_SECRET=" + a + "," + b}, isA[*webhook.Handler]},
		{[]string{"HANDLER=https://host", "WEBHOOK_SECRET= " + a + ", " + b}, isA[*webhook.Handler]},
		{[]string{"HANDLER=exec:/bin/sh"}, isA[*command.Handler]},
		{[]string{"HANDLER=exec:sh -c 'exit 0; exit 1'"}, isA[*command.Handler]},
		{[]string{"HANDLER=log:", "WEBHOOK_SECRET=" + a}, isA[*builtin.Log]},
	} {
		if h, err := loadHandler(t, c.env...); err != nil || !c.is(h) {
			t.Errorf("%q: a %T, error %v", c.env, h, err)
		}
	}
}

func TestHandler_RefusesAWrongSettingWithOneLine(t *testing.T) {
	a := whsec("s3cret")
	for _, c := range []struct {
		env  []string
		want []string
	}{
		{[]string{"HANDLER=dance:"}, []string{`HANDLER="dance:"`, "sleep:3s", "exec:", "https://"}},
		{[]string{"HANDLER=noop:x"}, []string{`HANDLER="noop:x"`}},
		{[]string{"HANDLER=https:/host"}, []string{`HANDLER="https:/host"`}},
		{[]string{"HANDLER=htps://u:s3cret@host"}, []string{`HANDLER="(hidden)"`}},
		{[]string{"HANDLER=https://u:s3cret@"}, []string{`HANDLER="(hidden)"`, "names no host"}},
		{[]string{"HANDLER=https://u:s3cret@host:port"}, []string{`HANDLER="(hidden)"`, "not a URL"}},
		{[]string{"HANDLER=exec:"}, []string{`HANDLER="exec:"`, "exec:/usr/local/bin/work"}},
		{[]string{"HANDLER=exec:/no/such/program --fast"}, []string{`HANDLER="exec:/no/such/program --fast"`, "no such file"}},
		{[]string{"HANDLER=exec:/etc/passwd"}, []string{"permission denied"}},
		{[]string{"HANDLER=exec:no-such-program-anywhere"}, []string{"not found"}},
		{[]string{"HANDLER=exec:sh -c 'exit"}, []string{"HANDLER="}},
		{[]string{"HANDLER=exec:sort | uniq"}, []string{"not run by a shell"}},
		{[]string{"HANDLER=exec:sort > file"}, []string{"not run by a shell"}},
		{[]string{"HANDLER_ENV=DATABASE_URL"}, []string{`HANDLER_ENV="DATABASE_URL"`, "no settings of Millrace"}},
		{[]string{"HANDLER_ENV=A,B=C"}, []string{`HANDLER_ENV="A,B=C"`}},
		{[]string{"HANDLER_ENV=A*B"}, []string{`HANDLER_ENV="A*B"`}},
		{[]string{"WEBHOOK_TIMEOUT=0s"}, []string{"WEBHOOK_TIMEOUT", "100ms"}},
		{[]string{"WEBHOOK_SECRET=s3cret"}, []string{"WEBHOOK_SECRET=", "(hidden)", "whsec_"}},
		{[]string{"WEBHOOK_SECRET=whsec_s3cret"}, []string{"WEBHOOK_SECRET=", "(hidden)", "24 to 64 bytes"}},
		{[]string{"WEBHOOK_SECRET=,"}, []string{"WEBHOOK_SECRET="}},
		{[]string{"WEBHOOK_SECRET=" + strings.Join([]string{whsec("a"), whsec("b"), whsec("c")}, ",")}, []string{"one or two"}},
		{[]string{"WEBHOOK_SECRET=" + whsec("a") + "," + a}, []string{"WEBHOOK_SECRET="}}, // 192 bytes
	} {
		for program, load := range map[string]func([]string) error{
			"worker":   func(env []string) error { _, err := LoadWorker(env); return err },
			"millrace": func(env []string) error { _, err := LoadEmbedded(env); return err },
		} {
			err := load(c.env)
			if _, ok := errors.AsType[*SettingError](err); !ok {
				t.Errorf("%s with %q: %v", program, c.env, err)
				continue
			}
			for _, want := range c.want {
				if text := err.Error(); !strings.Contains(text, want) || strings.ContainsAny(text, "\r\n") || strings.Contains(text, "s3cret") {
					t.Errorf("%s with %q: %s", program, c.env, text)
				}
			}
		}
	}
}

// runEnv runs env as the program of a task, and returns the lines of what it prints.
func runEnv(t *testing.T, settings ...string) (lines []string, task *domain.Task) {
	t.Helper()
	h, err := loadHandler(t, append(settings, "HANDLER=exec:env")...)
	if err != nil {
		t.Fatal(err)
	}
	task, err = domain.NewTask(domain.TaskSpec{Message: "Hello World", MaxAttempts: new(1)}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	got, err := h.Handle(t.Context(), task)
	if err != nil || strings.Contains(got, "s3cret") {
		t.Errorf("%q, error %v", got, err)
	}
	return strings.Split(got, "\n"), task
}

// A program that does the work gets what programs need of the worker's environment, and
// nothing else that was not asked for.
func TestHandler_GivesProgramsAListOfVariables(t *testing.T) {
	for _, name := range slices.Concat(ownVariables(), []string{"HTTPS_PROXY", "AWS_SECRET_ACCESS_KEY", "LANGUISH"}) {
		t.Setenv(name, "s3cret")
	}
	t.Setenv("LANG", "C.UTF-8")
	t.Setenv("LC_TIME", "C")
	got, task := runEnv(t)
	for _, want := range []string{"LANG=C.UTF-8", "LC_TIME=C", "PATH=" + os.Getenv("PATH"), "MILLRACE_TASK_ID=" + task.ID().String()} {
		if !slices.Contains(got, want) {
			t.Errorf("no %s in %q", want, got)
		}
	}
}

func TestHandler_GivesProgramsTheVariablesOfHandlerEnv(t *testing.T) {
	for _, name := range slices.Concat(ownVariables(), []string{"AWSOME", "OTHER"}) {
		t.Setenv(name, "s3cret")
	}
	t.Setenv("AWS_REGION", "eu")
	t.Setenv("HANDLER_OF_MINE", "mine")
	got, _ := runEnv(t, "HANDLER_ENV=AWS_*, HANDLER*,MISSING")
	for _, want := range []string{"AWS_REGION=eu", "HANDLER_OF_MINE=mine"} {
		if !slices.Contains(got, want) {
			t.Errorf("no %s in %q", want, got)
		}
	}
}

func TestWithHandler_ClosesTheHandlerLast(t *testing.T) {
	cfg, err := LoadWorker([]string{"HANDLER=noop:"})
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	closed := false
	_, closeAll, err := withHandler(cfg.WorkConfig, log, func(application.Handler) (int, func(), error) {
		return 1, func() { closed = true }, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if closeAll(); !closed {
		t.Error("what was assembled is not closed")
	}
	broken := errors.New("broken")
	_, closeAll, err = withHandler(cfg.WorkConfig, log, func(application.Handler) (int, func(), error) { return 0, nil, broken })
	if !errors.Is(err, broken) || closeAll != nil {
		t.Errorf("error %v", err)
	}
}

func TestHandler_OfAWorkerHasNoDefault(t *testing.T) {
	for _, c := range []struct{ environ, want string }{
		{"", "queue default has no handler"},
		{"HANDLER=", "queue default has no handler"},
		{"QUEUES=default,mail\x00HANDLERS=default=noop:", "queue mail has no handler"},
		{"QUEUES=default,mail\x00HANDLERS=mail=noop:", "queue default has no handler"},
		{"HANDELR=https://s3cret@host", "HANDELR, which is set, is not a setting: is it HANDLER?"},
		{"handler=noop:", "handler, which is set, is not a setting: is it HANDLER?"},
		{"MILLRACE_HANDLER=noop:", "MILLRACE_HANDLER, which is set, is not a setting: is it HANDLER?"},
	} {
		_, err := LoadWorker(strings.Split(c.environ, "\x00"))
		if e, ok := errors.AsType[*SettingError](err); !ok || e.Name != "HANDLER" || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: %v", c.environ, err)
		}
	}
	for _, environ := range [][]string{
		{"QUEUES=default,mail", "HANDLER=noop:"},
		{"QUEUES=default,mail", "HANDLERS=default=noop:\nmail=log:"},
	} {
		if h, err := loadHandler(t, environ...); err != nil || h == nil {
			t.Errorf("%q: %v", environ, err)
		}
	}
	if cfg, err := LoadEmbedded(nil); err != nil || cfg.Handler != "log:" {
		t.Errorf("the embedded program: %q, error %v", cfg.Handler, err)
	}
	if _, err := LoadWorkerWith([]string{"HANDLER=dance:", "HANDLERS=dance"}); err != nil {
		t.Errorf("with a handler of the caller's: %v", err)
	}
}
