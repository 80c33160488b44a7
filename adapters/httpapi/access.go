package httpapi

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"slices"
	"strings"
)

// Credential is a key that opens the API. The key itself is not kept: its digest
// is enough to recognise it, and a key of 32 random bytes cannot be guessed from it.
type Credential struct {
	Name   string // whose it is; several keys may have one name, so that they can be rotated
	SHA256 [sha256.Size]byte
}

const (
	healthPath    = "/healthz"
	readinessPath = "/readyz"
	metricsPath   = "/metrics"
)

// isOpen reports whether the path needs no key, and no free slot.
func (m *middleware) isOpen(r *http.Request) bool {
	return slices.Contains(m.open, r.URL.EscapedPath())
}

type credentialKey struct{}

// CredentialName is the name of the credential that the request of ctx came
// with; "" if the API is open to all.
func CredentialName(ctx context.Context) string {
	name, _ := ctx.Value(credentialKey{}).(string)
	return name
}

// authenticate answers 401 unless the request has a key that is known. It stands
// before the router, so that strangers do not even learn which paths there are.
func (m *middleware) authenticate(next http.Handler) http.Handler {
	if len(m.credentials) == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if m.isOpen(r) {
			next.ServeHTTP(w, r)
			return
		}
		token, sent := bearer(r)
		name, known := m.whose(token)
		switch {
		case !sent:
			w.Header().Set("WWW-Authenticate", `Bearer realm="millrace"`)
			m.fail(w, r, unauthorized.errorf("an API key is required: Authorization: Bearer KEY"))
		case !known:
			w.Header().Set("WWW-Authenticate", `Bearer realm="millrace", error="invalid_token"`)
			m.fail(w, r, unauthorized.errorf("unknown API key"))
		default:
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), credentialKey{}, name)))
		}
	})
}

// sameOrigin refuses what a browser sends for a page of another site: otherwise
// any page could submit tasks to a Millrace on its visitor's machine, where no key
// is needed. Requests of other programs name no origin, and pass.
func (m *middleware) sameOrigin(next http.Handler) http.Handler {
	protection := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if protection.Check(r) != nil {
			m.fail(w, r, crossOrigin.errorf("a browser sent this request for a page of another site"))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// bearer returns the token of the Authorization header (RFC 6750, section 2.1).
func bearer(r *http.Request) (string, bool) {
	values := r.Header.Values("Authorization")
	if len(values) != 1 {
		return "", false
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	token = strings.Trim(token, " ")
	return token, strings.EqualFold(scheme, "Bearer") && token != ""
}

// whose returns the name of the credential. It takes the same time for every token,
// right or wrong.
func (m *middleware) whose(token string) (string, bool) {
	sum := sha256.Sum256([]byte(token))
	found := -1
	for i := range m.credentials {
		same := subtle.ConstantTimeCompare(sum[:], m.credentials[i].SHA256[:])
		found = subtle.ConstantTimeSelect(same, i, found)
	}
	if found < 0 {
		return "", false
	}
	return m.credentials[found].Name, true
}
