package command

import (
	"strings"
	"unicode/utf8"
)

// head keeps the first bytes that are written to it, and discards the rest.
type head struct {
	limit int
	kept  []byte
}

func (h *head) Write(p []byte) (int, error) {
	h.kept = append(h.kept, p[:min(len(p), h.limit-len(h.kept))]...)
	return len(p), nil
}

func (h *head) String() string { return string(h.kept) }

// tail keeps the last bytes that are written to it.
type tail struct {
	limit int
	kept  []byte
	cut   bool
}

func (t *tail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p[max(0, len(p)-t.limit):]...)
	if over := len(t.kept) - t.limit; over > 0 || len(p) > t.limit {
		t.kept = append(t.kept[:0], t.kept[max(over, 0):]...)
		t.cut = true
	}
	return len(p), nil
}

// String returns the kept bytes from the start of a character, after an ellipsis if
// something was cut.
func (t *tail) String() string {
	if !t.cut {
		return string(t.kept)
	}
	kept := t.kept
	for i := 0; i < utf8.UTFMax-1 && len(kept) > 0 && !utf8.RuneStart(kept[0]); i++ {
		kept = kept[1:]
	}
	return "…" + strings.TrimLeft(string(kept), "\n")
}
