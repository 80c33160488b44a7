package httpapi

import (
	"errors"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/elnormous/contenttype"

	"github.com/millrace/millrace/domain"
)

const (
	typeJSON    = "application/json"
	typeProblem = "application/problem+json"
	typeMerge   = "application/merge-patch+json"
	typeYAML    = "application/yaml"
	typeHTML    = "text/html"
)

// produced says what a route answers with, unless it is JSON. Those with nothing here
// answer with what they have, or negotiate by themselves.
var produced = map[string][]string{
	docsAssetRoute:  nil,
	metricsPath:     nil,
	profilesRoute:   nil,
	"/":             {typeJSON, typeHTML},
	"/docs":         {typeHTML},
	"/openapi.yaml": {typeYAML},
}

// negotiate answers 406 when the client accepts none of the media types. Errors
// are problem documents whatever it accepts.
func (m *middleware) negotiate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		types, ok := produced[route(r)]
		if !ok {
			types = []string{typeJSON}
		}
		if len(types) > 0 && accepted(r, types...) == "" {
			m.fail(w, r, notAcceptable.errorf("the response would be %s, which the Accept header excludes", strings.Join(types, " or ")))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// accepted returns which of the types the client prefers, the first of them
// if it does not say, or "". A header that breaks the grammar counts as absent:
// one that Java has sent for decades does ("*; q=.2").
func accepted(r *http.Request, types ...string) string {
	header := strings.Join(r.Header.Values("Accept"), ",")
	if header == "*/*" || strings.TrimSpace(header) == "" { // as most have it
		return types[0]
	}
	var offers []contenttype.MediaType
	for _, t := range types {
		offer := contenttype.NewMediaType(t)
		offers = append(offers, offer, contenttype.NewMediaType(t+"; charset=utf-8"), contenttype.NewMediaType(t+"; charset=UTF-8"))
	}
	best, _, err := contenttype.GetAcceptableMediaTypeFromHeader(header, offers)
	switch {
	case err == nil:
		return best.Type + "/" + best.Subtype
	case errors.Is(err, contenttype.ErrNoAcceptableTypeFound):
		return ""
	}
	return types[0]
}

// checkContentType refuses a body that is declared as something else than the
// types. One without a declaration is read as JSON.
func checkContentType(r *http.Request, types ...string) error {
	if coding := r.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return unsupportedMediaType.errorf("content encoding %s is not supported", domain.Quoted(coding))
	}
	values := r.Header.Values("Content-Type")
	if len(values) == 0 || len(values) == 1 && isType(values[0], types) {
		return nil
	}
	return unsupportedMediaType.errorf("the body must be %s, not %s",
		strings.Join(types, " or "), domain.Quoted(strings.Join(values, ", ")))
}

// isType reports whether the value of Content-Type is one of the types, or JSON by
// another name (+json, RFC 6839), in UTF-8. JSON has no parameters (RFC 8259): those
// that are malformed mean nothing, and a charset only tells what is not UTF-8.
func isType(value string, types []string) bool {
	if value == types[0] { // as most have it
		return true
	}
	got, params, err := mime.ParseMediaType(value)
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) {
		return false
	}
	return inUTF8(params["charset"]) && (slices.Contains(types, got) || isJSON(got))
}

// isJSON reports whether a body of the media type is read as application/json is. A
// patch is not: its format says what to do with it.
func isJSON(mediaType string) bool {
	kind, subtype, _ := strings.Cut(mediaType, "/")
	return kind != "" && strings.HasSuffix(subtype, "+json") && !strings.HasSuffix(subtype, "-patch+json")
}

// inUTF8 reports whether text in the charset is UTF-8: by its names, and by those of
// its part ASCII.
func inUTF8(charset string) bool {
	return slices.Contains([]string{"", "utf-8", "utf8", "us-ascii", "ascii"}, strings.ToLower(charset))
}
