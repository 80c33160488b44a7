package domain

import (
	"strconv"
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
	if end == len(text) {
		return strconv.Quote(text)
	}
	return strconv.Quote(text[:end]) + "…"
}
