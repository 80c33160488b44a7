package redis

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

func TestSignal_IsReadAsItWasWritten(t *testing.T) {
	s := application.Signal{Kind: application.SignalStop, Tasks: []domain.TaskID{{}, {1, 2, 3}, {15: 0xff}}}
	got, err := parseSignal(encodeSignal(s))
	if err != nil || got.Kind != s.Kind || !slices.Equal(got.Tasks, s.Tasks) {
		t.Errorf("%v is read as %v, error %v", s, got, err)
	}
}

func TestParseSignal_RefusesWhatEncodeSignalDoesNotWrite(t *testing.T) {
	id := strings.Repeat("x", 16)
	longest := strings.Repeat("k", maxKind)
	for _, text := range []string{"stop:" + id, "stop:" + strings.Repeat(id, maxSignalIDs), longest + ":" + id, "stop::" + id[1:]} {
		if _, err := parseSignal(text); err != nil {
			t.Errorf("%.40q: %v", text, err)
		}
	}
	for _, text := range []string{
		"", ":", "stop", "stop:", "stop:" + id[1:], "stop:" + id + "x", ":" + id, "Stop:" + id, "st op:" + id, "st\xffop:" + id, id,
		longest + "k:" + id, "stop:" + strings.Repeat(id, maxSignalIDs+1),
	} {
		if s, err := parseSignal(text); err == nil {
			t.Errorf("%.40q was read as %v", text, s)
		}
	}
}

func FuzzSignal(f *testing.F) {
	f.Add([]byte(encodeSignal(application.Signal{Kind: application.SignalChanged, Tasks: make([]domain.TaskID, 2)})))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := parseSignal(string(text))
		if err != nil {
			return
		}
		if got := encodeSignal(s); !bytes.Equal([]byte(got), text) {
			t.Errorf("%q is written back as %q", text, got)
		}
		if n := len(s.Tasks); n == 0 || n > maxSignalIDs || s.Kind == "" || len(s.Kind) > maxKind {
			t.Errorf("%q is read as %d ids of the kind %q", text, n, s.Kind)
		}
	})
}
