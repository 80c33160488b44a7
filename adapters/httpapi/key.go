package httpapi

import (
	"net/http"
	"strings"

	"github.com/dunglas/httpsfv"
)

const (
	headerKey      = "Idempotency-Key"
	headerReplayed = "Idempotency-Replayed"
	maxKeyBytes    = 255
)

// idempotencyKey returns the key of a request, "" if it has none. Clients send it
// bare or as a string of RFC 8941, in quotes: both are the same key. Parameters of
// the string mean nothing here.
func idempotencyKey(header http.Header) (string, error) {
	values := header.Values(headerKey)
	if len(values) == 0 {
		return "", nil
	}
	if len(values) > 1 {
		return "", wrongKey("must not be repeated")
	}
	key := values[0]
	if strings.HasPrefix(key, `"`) {
		item, err := httpsfv.UnmarshalItem(values)
		text, isString := item.Value.(string)
		if err != nil || !isString {
			return "", wrongKey("starts with a quote but is not a valid RFC 8941 string")
		}
		key = text
	}
	if len(key) < 1 || len(key) > maxKeyBytes || strings.ContainsFunc(key, func(r rune) bool { return r < '!' || r > '~' }) {
		return "", wrongKey("must be 1 to 255 visible ASCII characters")
	}
	return key, nil
}

func wrongKey(detail string) error { return invalid.withErrors(wrongParameter(headerKey, detail)) }
