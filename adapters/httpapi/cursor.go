package httpapi

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"

	"github.com/millrace/millrace/domain"
)

// A cursor is, in base64url: one byte of version, the id of the last task that
// was shown, and a digest of the filters, so that it cannot be used with others.
const (
	cursorVersion = 1
	digestBytes   = 8
	cursorBytes   = 1 + len(domain.TaskID{}) + digestBytes
)

var (
	errBrokenCursor = errors.New("is not a cursor of this service")
	errOtherFilters = errors.New("belongs to a list with other filters")
)

var cursorEncoding = base64.RawURLEncoding.Strict()

func encodeCursor(last domain.TaskID, statuses []domain.Status) string {
	b := make([]byte, 0, cursorBytes)
	b = append(b, cursorVersion)
	b = append(b, last[:]...)
	b = append(b, digest(statuses)...)
	return cursorEncoding.EncodeToString(b)
}

// decodeCursor returns the id in s, or why s cannot be used.
func decodeCursor(s string, statuses []domain.Status) (domain.TaskID, error) {
	var last domain.TaskID
	if len(s) != cursorEncoding.EncodedLen(cursorBytes) {
		return last, errBrokenCursor
	}
	b, err := cursorEncoding.DecodeString(s)
	if err != nil || len(b) != cursorBytes || b[0] != cursorVersion {
		return last, errBrokenCursor
	}
	if string(b[1+len(last):]) != string(digest(statuses)) {
		return last, errOtherFilters
	}
	copy(last[:], b[1:])
	return last, nil
}

// digest identifies a set of filters, which is sorted and without doubles.
func digest(statuses []domain.Status) []byte {
	sum := sha256.Sum256([]byte("status=" + joined(statuses)))
	return sum[:digestBytes]
}

func joined(statuses []domain.Status) string {
	words := make([]string, len(statuses))
	for i, s := range statuses {
		words[i] = string(s)
	}
	return strings.Join(words, ",")
}
