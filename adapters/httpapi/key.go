package httpapi

import (
	"net/http"
	"regexp"
	"strings"
)

const (
	headerKey      = "Idempotency-Key"
	headerReplayed = "Idempotency-Replayed"
	maxKeyBytes    = 255
)

// quotedKey is an item of RFC 8941 that is a string (section 3.3.3), with its
// parameters (section 3.1.2), which say nothing to us.
var quotedKey = func() *regexp.Regexp {
	const (
		text     = `"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*"`
		number   = `-?[0-9]{1,15}(?:\.[0-9]{1,3})?`
		token    = `[A-Za-z*][!#$%&'*+.^_|~0-9A-Za-z:/\x60-]*`
		bytes    = `:[A-Za-z0-9+/=]*:`
		boolean  = `\?[01]`
		bareItem = `(?:` + text + `|` + number + `|` + token + `|` + bytes + `|` + boolean + `)`
	)
	return regexp.MustCompile(`^(` + text + `)(?:; *[a-z*][a-z0-9_.*-]*(?:=` + bareItem + `)?)*$`)
}()

var unescapeKey = strings.NewReplacer(`\"`, `"`, `\\`, `\`)

// idempotencyKey returns the key of a request, "" if it has none. Clients send it
// bare as well as in quotes: both are the same key.
func idempotencyKey(header http.Header) (string, error) {
	values := header.Values(headerKey)
	if len(values) == 0 {
		return "", nil
	}
	if len(values) > 1 {
		return "", invalid.with(wrongParameter(headerKey, "must be given once"))
	}
	key := values[0]
	if strings.HasPrefix(key, `"`) {
		parts := quotedKey.FindStringSubmatch(key)
		if parts == nil {
			return "", invalid.with(wrongParameter(headerKey, "begins with a quote and is no string of RFC 8941"))
		}
		key = unescapeKey.Replace(parts[1][1 : len(parts[1])-1])
	}
	if len(key) < 1 || len(key) > maxKeyBytes || strings.ContainsFunc(key, func(r rune) bool { return r < '!' || r > '~' }) {
		return "", invalid.with(wrongParameter(headerKey, "must be 1 to 255 visible ASCII characters"))
	}
	return key, nil
}
