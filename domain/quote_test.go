package domain_test

import (
	"strings"
	"testing"

	"github.com/millrace/millrace/domain"
)

func TestQuoted_IsWholeOrEndsWithAnEllipsis(t *testing.T) {
	id := "019b1c5f-8ee1-7b3b-8000-0001bf7319d3-and-more"
	for in, want := range map[string]string{
		"":                                 `""`,
		id:                                 `"` + id + `"`,
		strings.Repeat("é", 80):            `"` + strings.Repeat("é", 80) + `"`,
		strings.Repeat("é", 81):            `"` + strings.Repeat("é", 80) + `"…`,
		"\xff\n" + strings.Repeat("a", 78): `"\xff\n` + strings.Repeat("a", 78) + `"`,
		"\xff\n" + strings.Repeat("a", 79): `"\xff\n` + strings.Repeat("a", 78) + `"…`,
		strings.Repeat("a", 79) + "%C3%A9": `"` + strings.Repeat("a", 79) + `"…`,
		strings.Repeat("a", 78) + "%C3%A9": `"` + strings.Repeat("a", 78) + `"…`,
		strings.Repeat("a", 77) + "%C3%A9": `"` + strings.Repeat("a", 77) + `%C3"…`,
		strings.Repeat("a", 79) + "%G3":    `"` + strings.Repeat("a", 79) + `%"…`,
		strings.Repeat("a", 77) + "%C3":    `"` + strings.Repeat("a", 77) + `%C3"`,
	} {
		if got := domain.Quoted(in); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}
