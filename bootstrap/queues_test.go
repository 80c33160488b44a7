package bootstrap

import (
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/millrace/millrace/adapters/builtin"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/worker"
)

func TestQueues_AreWhatTheSettingNames(t *testing.T) {
	for setting, want := range map[string][]worker.QueueWeight{
		"":                              {{Name: "default", Weight: 1}},
		"mail":                          {{Name: "mail", Weight: 1}},
		"default=3, mail ,a.b_c-d=1000": {{Name: "default", Weight: 3}, {Name: "mail", Weight: 1}, {Name: "a.b_c-d", Weight: 1000}},
	} {
		cfg, err := LoadWorker([]string{"HANDLER=noop:", "QUEUES=" + setting})
		if err != nil {
			t.Errorf("%q: %v", setting, err)
			continue
		}
		if got, err := cfg.queues(); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %v, %v; want %v", setting, got, err, want)
		}
	}
}

func TestQueues_RefusesAWrongSettingWithOneLine(t *testing.T) {
	for _, c := range []struct{ env, name, want string }{
		{"QUEUES=Mail", "QUEUES", `"Mail" is not a queue name`},
		{"QUEUES=default,,mail", "QUEUES", `"" is not a queue name`},
		{"QUEUES=default=0", "QUEUES", "weight of default"},
		{"QUEUES=default=1001", "QUEUES", "weight of default"},
		{"QUEUES=default=x", "QUEUES", "weight of default"},
		{"QUEUES=mail,mail=2", "QUEUES", "named twice"},
		{"RETRY_CAP=500ms", "RETRY_BASE", "must be at most RETRY_CAP, which is 500ms"},
		{"HANDLERS=noop:", "HANDLERS", "line 1"},
		{"HANDLERS=default=noop:\nmail=noop:", "HANDLERS", "line 2"},
		{"HANDLERS=default=noop:\ndefault=log:", "HANDLERS", "line 2"},
		{"HANDLERS=default=dance:", "HANDLERS", "sleep:3s"},
		{"HANDLERS=default=https://u:s3cret@", "HANDLERS", "names no host"},
	} {
		_, err := LoadWorker([]string{"HANDLER=noop:", c.env})
		wrong, ok := errors.AsType[*SettingError](err)
		if !ok || wrong.Name != c.name || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: %v", c.env, err)
		}
	}
}

func TestHandler_OfItsOwnForAQueue(t *testing.T) {
	cfg, err := LoadWorker([]string{"QUEUES=default,mail,slow", "HANDLER=noop:", "HANDLERS=\n mail = log:\n\nslow=sleep:3s"})
	if err != nil {
		t.Fatal(err)
	}
	h, closeAll, err := newHandler(cfg.WorkConfig, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll()
	by, ok := h.(application.HandlerByQueue)
	if !ok || !isA[builtin.Noop](by.Rest) || len(by.Queues) != 2 || !isA[*builtin.Log](by.Queues["mail"]) || !isA[builtin.Sleep](by.Queues["slow"]) {
		t.Errorf("%T %+v", h, h)
	}
}
