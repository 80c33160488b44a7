package application

import (
	"strings"
	"unicode/utf8"

	"github.com/millrace/millrace/domain"
)

// The bounds of a filter: what a search has to compare each task with.
const (
	MaxFilterText   = 1000 // bytes
	MaxFilterQueues = 100
)

// Check names what of the filter no store can look for, or has to look for too
// long: CodeInvalid.
func (f TaskFilter) Check() error {
	var wrong []domain.FieldError
	bad := func(err *domain.Error) { wrong = append(wrong, err.Fields...) }
	if len(f.Queues) > MaxFilterQueues {
		bad(domain.Invalid("queue", "must be at most %d queues, not %d", MaxFilterQueues, len(f.Queues)))
	}
	if err := domain.CheckMetadata(f.Metadata); err != nil {
		bad(domain.Public(err))
	}
	switch {
	case len(f.Text) > MaxFilterText:
		bad(domain.Invalid("text", "must be at most %d bytes long, not %d", MaxFilterText, len(f.Text)))
	case !utf8.ValidString(f.Text) || strings.ContainsRune(f.Text, 0): // as no message is
		bad(domain.Invalid("text", "must be valid UTF-8 without the NUL character (U+0000)"))
	}
	if len(wrong) > 0 {
		return domain.InvalidFields(wrong...)
	}
	return nil
}
