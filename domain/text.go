package domain

import (
	"strings"
	"unicode/utf8"
)

// What is wrong with a text that no task can hold; see textFault.
const (
	notUTF8 = "must be valid UTF-8"
	holdNUL = "must not contain the NUL character (U+0000)"
)

// validText reports whether a store can hold s as a text: UTF-8 without the NUL
// character, which no text of PostgreSQL has.
func validText(s string) bool { return textFault(s) == "" }

// textFault says what keeps s from being stored as a text; empty if nothing does.
func textFault(s string) string {
	switch {
	case !utf8.ValidString(s):
		return notUTF8
	case strings.IndexByte(s, 0) >= 0:
		return holdNUL
	}
	return ""
}

// bounded makes any text fit to be stored and shown: valid UTF-8 without NUL,
// no longer than limit, and says whether it had to cut. Whether the text is altered as
// well, by U+FFFD for what no text can hold, is for Task.Complete to say.
func bounded(s string, limit int) (text string, cut bool) {
	if cut = len(s) > limit; cut {
		s = s[:limit]
		for i := 1; i < utf8.UTFMax && i < len(s); i++ { // no half of a character
			if tail := s[len(s)-i:]; utf8.RuneStart(tail[0]) {
				if !utf8.FullRuneInString(tail) {
					s = s[:len(s)-i]
				}
				break
			}
		}
	}
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
	for len(s) > limit { // what stands for a single byte is longer than that
		_, size := utf8.DecodeLastRuneInString(s)
		s, cut = s[:len(s)-size], true
	}
	return s, cut
}
