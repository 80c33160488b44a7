package domain

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxQuoted is how many characters of an input a message quotes.
const maxQuoted = 80

// Quoted is s in quotes, for a message about it: whole, or its beginning and an ellipsis.
func Quoted[T ~string](s T) string {
	text := string(s)
	end := 0
	for range maxQuoted {
		if end == len(text) {
			return strconv.Quote(text)
		}
		_, size := utf8.DecodeRuneInString(text[end:])
		end += size
	}
	end = beforeEscape(text, end)
	if end == len(text) {
		return strconv.Quote(text)
	}
	return strconv.Quote(text[:end]) + "…"
}

// beforeEscape is end, or where the percent-encoded byte begins that end would cut in two.
func beforeEscape(text string, end int) int {
	const digits = "0123456789ABCDEFabcdef"
	for i := max(0, end-2); i < end; i++ {
		if e := text[i:]; e[0] == '%' && len(e) >= 3 && strings.IndexByte(digits, e[1]) >= 0 && strings.IndexByte(digits, e[2]) >= 0 {
			return i
		}
	}
	return end
}
