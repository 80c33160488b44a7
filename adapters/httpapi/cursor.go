package httpapi

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"maps"
	"net/url"

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
	errBrokenCursor     = errors.New("is not a cursor of this service")
	errDifferentFilters = errors.New("belongs to a list with different filters")
)

var cursorEncoding = base64.RawURLEncoding.Strict()

func encodeCursor(last domain.TaskID, filters url.Values) string {
	b := make([]byte, 0, cursorBytes)
	b = append(b, cursorVersion)
	b = append(b, last[:]...)
	b = append(b, digest(filters)...)
	return cursorEncoding.EncodeToString(b)
}

// decodeCursor returns the id in s, or why s cannot be used.
func decodeCursor(s string, filters url.Values) (domain.TaskID, error) {
	var last domain.TaskID
	if len(s) != cursorEncoding.EncodedLen(cursorBytes) {
		return last, errBrokenCursor
	}
	b, err := cursorEncoding.DecodeString(s)
	if err != nil || len(b) != cursorBytes || b[0] != cursorVersion {
		return last, errBrokenCursor
	}
	if string(b[1+len(last):]) != string(digest(filters)) {
		return last, errDifferentFilters
	}
	copy(last[:], b[1:])
	return last, nil
}

// digest identifies filters by their canonical form. With nothing but statuses it is
// what it was before there were other filters, so that paging survives an upgrade.
func digest(filters url.Values) []byte {
	others := maps.Clone(filters)
	delete(others, "status")
	text := "status=" + filters.Get("status")
	if len(others) > 0 {
		text += "&" + others.Encode()
	}
	sum := sha256.Sum256([]byte(text))
	return sum[:digestBytes]
}

// The cursor of a list of queues is the last name, after one byte of version.
const queueCursorVersion = 2

func encodeQueueCursor(last domain.QueueName) string {
	return cursorEncoding.EncodeToString(append([]byte{queueCursorVersion}, last...))
}

// decodeQueueCursor returns the name in s, or why s cannot be used.
func decodeQueueCursor(s string) (domain.QueueName, error) {
	b, err := cursorEncoding.DecodeString(s)
	if err != nil || len(b) == 0 || b[0] != queueCursorVersion {
		return "", errBrokenCursor
	}
	last, err := domain.ParseQueueName(string(b[1:]))
	if err != nil {
		return "", errBrokenCursor
	}
	return last, nil
}
