package httpapi

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"

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

func encodeCursor(last domain.TaskID, f domain.TaskFilter) string {
	b := make([]byte, 0, cursorBytes)
	b = append(b, cursorVersion)
	b = append(b, last[:]...)
	b = append(b, digest(f)...)
	return cursorEncoding.EncodeToString(b)
}

// decodeCursor returns the id in s, or why s cannot be used.
func decodeCursor(s string, f domain.TaskFilter) (domain.TaskID, error) {
	var last domain.TaskID
	if len(s) != cursorEncoding.EncodedLen(cursorBytes) {
		return last, errBrokenCursor
	}
	b, err := cursorEncoding.DecodeString(s)
	if err != nil || len(b) != cursorBytes || b[0] != cursorVersion {
		return last, errBrokenCursor
	}
	if string(b[1+len(last):]) != string(digest(f)) {
		return last, errOtherFilters
	}
	copy(last[:], b[1:])
	return last, nil
}

// digest identifies filters. Without any but statuses it is what it was when there
// were no others, so that those who page go on across an upgrade.
func digest(f domain.TaskFilter) []byte {
	query := filterQuery(f)
	text := "status=" + query.Get("status")
	query.Del("status")
	if len(query) > 0 {
		text += "&" + query.Encode()
	}
	sum := sha256.Sum256([]byte(text))
	return sum[:digestBytes]
}
