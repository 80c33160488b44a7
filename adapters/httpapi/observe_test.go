package httpapi_test

import (
	"crypto/sha256"
	"net/http"
	"testing"

	"github.com/millrace/millrace/adapters/httpapi"
)

func TestObserve_HearsOfEveryRequestAndOfItsRoute(t *testing.T) {
	type seen struct {
		method, route string
		status        int
	}
	var last seen
	s := newService(t, func(c *httpapi.Config) {
		c.Credentials = []httpapi.Credential{{Name: "one", SHA256: sha256.Sum256([]byte("a-key-that-is-long-enough-to-be-one"))}}
		c.Observe = func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				status := &statusWriter{ResponseWriter: w}
				next.ServeHTTP(status, r)
				last = seen{r.Method, r.Pattern, status.code}
			})
		}
	})
	const key = "Authorization: Bearer a-key-that-is-long-enough-to-be-one"
	for _, c := range []struct {
		method, path string
		header       []string
		want         seen
	}{
		{"GET", "/tasks/0190b9a7-7b7b-7000-8000-000000000000", []string{key}, seen{"GET", "/tasks/{id}", http.StatusNotFound}},
		{"HEAD", "/tasks", []string{key}, seen{"HEAD", "/tasks", http.StatusOK}},
		{"POST", "/tasks", []string{key}, seen{"POST", "/tasks", http.StatusBadRequest}},
		{"GET", "/healthz", nil, seen{"GET", "/healthz", http.StatusOK}},
		{"PUT", "/tasks/batch", []string{key}, seen{"PUT", "/tasks/{action}", http.StatusMethodNotAllowed}},
		{"GET", "/nothing", []string{key}, seen{"GET", "", http.StatusNotFound}},
		{"GET", "/tasks", nil, seen{"GET", "", http.StatusUnauthorized}}, // refused before it is routed
	} {
		s.call(c.method, c.path, "", c.header...)
		if last != c.want {
			t.Errorf("%s %s: %v, want %v", c.method, c.path, last, c.want)
		}
	}
}

// statusWriter knows the status of a response.
type statusWriter struct {
	http.ResponseWriter
	code int
}

func (w *statusWriter) WriteHeader(code int) { w.code = code; w.ResponseWriter.WriteHeader(code) }

func (w *statusWriter) Write(p []byte) (int, error) {
	if w.code == 0 {
		w.code = http.StatusOK
	}
	return w.ResponseWriter.Write(p)
}

func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
