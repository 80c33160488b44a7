package redis

import (
	"fmt"
	"strings"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

const (
	maxSignalIDs = 1000 // in one message: 16 kB
	maxKind      = 20   // letters
	idSize       = len(domain.TaskID{})
)

// encodeSignal writes a signal as its kind, a colon, and 16 bytes for each task.
func encodeSignal(s application.Signal) string {
	var b strings.Builder
	b.Grow(len(s.Kind) + 1 + len(s.Tasks)*idSize)
	b.WriteString(string(s.Kind))
	b.WriteByte(':')
	for _, id := range s.Tasks {
		b.Write(id[:])
	}
	return b.String()
}

// parseSignal parses what encodeSignal has written. It accepts any kind in lower-case
// letters: during an upgrade there may be one that only newer processes know.
func parseSignal(text string) (application.Signal, error) {
	kind, _, found := strings.Cut(text[:min(len(text), maxKind+1)], ":")
	if !found || kind == "" || strings.Trim(kind, "abcdefghijklmnopqrstuvwxyz") != "" {
		return application.Signal{}, fmt.Errorf("%.40q does not start with a kind of signal", text)
	}
	ids := text[len(kind)+1:]
	n := len(ids) / idSize
	if n == 0 || n > maxSignalIDs || n*idSize != len(ids) {
		return application.Signal{}, fmt.Errorf("%d bytes are not from 1 to %d ids", len(ids), maxSignalIDs)
	}
	s := application.Signal{Kind: application.SignalKind(kind), Tasks: make([]domain.TaskID, n)}
	for i := range s.Tasks {
		copy(s.Tasks[i][:], ids[i*idSize:])
	}
	return s, nil
}
