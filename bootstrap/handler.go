package bootstrap

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/mattn/go-shellwords"

	"github.com/millrace/millrace/adapters/builtin"
	"github.com/millrace/millrace/adapters/command"
	"github.com/millrace/millrace/adapters/webhook"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

const (
	handlerAllowed = "noop:, log:, log: or sleep: and a duration, such as sleep:3s, an http:// or https:// URL, or exec: and a program with its arguments"
	secretsAllowed = "one or two secrets, separated by a comma or a space, each whsec_ and the base64 of 24 to 64 bytes"
)

// newHandler makes the handler of a worker: the one in HANDLER, and those in HANDLERS for
// their queues. The returned function closes what they hold.
func newHandler(cfg WorkConfig, log *slog.Logger) (application.Handler, func(), error) {
	var closers []func()
	closeAll := func() {
		for _, c := range closers {
			c()
		}
	}
	var rest application.Handler = noHandler{}
	if cfg.Handler != "" {
		h, closeRest, err := handlerSetting{cfg, "HANDLER", cfg.Handler}.open(log)
		if err != nil {
			return nil, nil, err
		}
		rest, closers = h, append(closers, closeRest)
	}
	byQueue := application.HandlerByQueue{Queues: map[domain.QueueName]application.Handler{}, Rest: rest}
	lines, err := cfg.handlers()
	for _, line := range lines {
		if err != nil {
			break
		}
		var h application.Handler
		var closeHandler func()
		if h, closeHandler, err = (handlerSetting{cfg, "HANDLERS", line.handler}).open(log); err == nil {
			byQueue.Queues[line.queue] = h
			closers = append(closers, closeHandler)
		}
	}
	if err != nil {
		closeAll()
		return nil, nil, err
	}
	if len(byQueue.Queues) == 0 {
		return rest, closeAll, nil
	}
	return byQueue, closeAll, nil
}

// noHandler is for tasks of queues without a handler, which a worker does not pull.
type noHandler struct{}

// Handle refuses.
func (noHandler) Handle(context.Context, *domain.Task) (string, error) {
	return "", errors.New("the worker has no handler for this queue")
}

// handlerSetting is one handler as a setting names it.
type handlerSetting struct {
	cfg   WorkConfig
	name  string // of the setting
	value string
}

// open makes the handler; the returned function closes what it holds.
func (s handlerSetting) open(log *slog.Logger) (application.Handler, func(), error) {
	none := func() {}
	scheme, rest, _ := strings.Cut(s.value, ":")
	switch {
	case scheme == "log" && rest == "":
		return builtin.NewLog(log, 0), none, nil
	case scheme == "log":
		if d, err := time.ParseDuration(rest); err == nil && d >= 0 {
			return builtin.NewLog(log, d), none, nil
		}
	case scheme == "noop" && rest == "":
		return builtin.Noop{}, none, nil
	case scheme == "sleep":
		if d, err := time.ParseDuration(rest); err == nil && d >= 0 {
			return builtin.Sleep(d), none, nil
		}
	case hasScheme(s.value, "http", "https"):
		return s.webhook()
	case scheme == "exec":
		h, err := s.command(rest)
		return h, none, err
	}
	value := s.value
	if strings.Contains(value, "://") { // what is nearly a URL may hold a password
		value = hidden
	}
	return nil, nil, &SettingError{s.name, value, handlerAllowed}
}

// withHandler assembles a program with the handler that the settings name; the returned
// function closes both.
func withHandler[T any](cfg WorkConfig, log *slog.Logger, assemble func(application.Handler) (T, func(), error)) (T, func(), error) {
	var none T
	handler, closeHandler, err := newHandler(cfg, log)
	if err != nil {
		return none, nil, err
	}
	cfg.warnOfLimits(log, limitsOfMachine())
	all, closeAll, err := assemble(handler)
	if err != nil {
		closeHandler()
		return none, nil, err
	}
	return all, func() { closeAll(); closeHandler() }, nil
}

// webhook makes a webhook handler. checkSecrets has checked the secrets.
func (s handlerSetting) webhook() (application.Handler, func(), error) {
	h, closeHandler, err := webhook.New(webhook.Config{
		URL: s.value, Secrets: s.cfg.secrets(), UserAgent: "Millrace/" + Version(), Timeout: s.cfg.WebhookTimeout,
		Concurrency: s.cfg.Capacity,
	})
	if err != nil {
		return nil, nil, &SettingError{s.name, hidden, "an http:// or https:// URL: " + err.Error()}
	}
	return h, closeHandler, nil
}

// command splits the line as a shell would, with quotes and backslashes, but there are no
// variables, no pipes and no shell.
func (s handlerSetting) command(line string) (application.Handler, error) {
	const allowed = "exec: and a program with its arguments, such as exec:/usr/local/bin/work --fast 'an argument'"
	parser := shellwords.NewParser()
	words, err := parser.Parse(line)
	switch {
	case err != nil:
		return nil, &SettingError{s.name, s.value, allowed + ": " + err.Error()}
	case parser.Position >= 0:
		return nil, &SettingError{s.name, s.value, allowed + "; it is not run by a shell, so quote ; & | < and >, or put them in a script"}
	case len(words) == 0:
		return nil, &SettingError{s.name, s.value, allowed}
	}
	h, err := command.New(command.Config{Path: words[0], Args: words[1:], Env: s.cfg.programEnv(os.Environ())})
	if err != nil {
		return nil, &SettingError{s.name, s.value, allowed + ": " + err.Error()}
	}
	return h, nil
}

// secrets are the signing secrets.
func (c WorkConfig) secrets() []string {
	return strings.FieldsFunc(c.WebhookSecret, func(r rune) bool { return r == ',' || r == ' ' })
}

// checkSecrets checks them whatever the handler is, so that a wrong one is noticed before
// the handler is changed to a webhook.
func (c WorkConfig) checkSecrets() error {
	secrets := c.secrets()
	if c.WebhookSecret == "" {
		return nil
	}
	_, closeHandler, err := webhook.New(webhook.Config{URL: "https://localhost", Secrets: secrets})
	if err != nil || len(secrets) == 0 || len(secrets) > 2 {
		return &SettingError{"WEBHOOK_SECRET", hidden, secretsAllowed}
	}
	closeHandler()
	return nil
}
