package bootstrap

import (
	"bytes"
	"log/slog"
	"os"
	"strings"
	"testing"
)

func TestMachineLimits_AreComparedWithTheSlots(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		cfg    WorkConfig
		limits machineLimits
		want   []string // of the warning; none: there is none
	}{
		"enough":                    {WorkConfig{Handler: "exec:true", Capacity: 100}, machineLimits{1024, 150}, nil},
		"no limits":                 {WorkConfig{Handler: "exec:true", Capacity: 100_000}, machineLimits{unlimited, unlimited}, nil},
		"descriptors, for programs": {WorkConfig{Handler: "exec:true", Capacity: 1000}, machineLimits{1024, unlimited}, []string{"file_descriptors=1024", "file_descriptors_needed=6200", "processes=unlimited"}},
		"processes":                 {WorkConfig{Handler: "exec:true", Capacity: 100}, machineLimits{unlimited, 100}, []string{"processes=100", "processes_needed=150"}},
		"of one queue":              {WorkConfig{Handler: "log:", Queues: "a,b", Handlers: "b=exec:true", Capacity: 100}, machineLimits{100, unlimited}, []string{"file_descriptors_needed=800"}},
		"webhooks":                  {WorkConfig{Handler: "https://host", Capacity: 1000}, machineLimits{1024, 10}, []string{"file_descriptors_needed=1200"}},
		"no need":                   {WorkConfig{Handler: "log:", Capacity: 100_000}, machineLimits{10, 10}, nil},
	} {
		if c.cfg.Queues == "" {
			c.cfg.Queues = "default"
		}
		var out bytes.Buffer
		c.cfg.warnOfLimits(slog.New(slog.NewTextHandler(&out, nil)), c.limits)
		if lines := strings.Count(out.String(), "\n"); lines != min(1, len(c.want)) {
			t.Errorf("%s: %d lines: %s", name, lines, &out)
		}
		for _, want := range c.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: no %s in %s", name, want, &out)
			}
		}
	}
}

func TestReadLimit(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]uint64{"max\n": unlimited, "512\n": 512, "": unlimited} {
		file := t.TempDir() + "/pids.max"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := readLimit(file); got != want {
			t.Errorf("%q: %d", text, got)
		}
	}
	if got := readLimit("/no/such/file"); got != unlimited {
		t.Errorf("no file: %d", got)
	}
}
