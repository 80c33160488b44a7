package httpapi

import (
	"maps"
	"net/http"
	"regexp"
	"runtime/debug"
	"strings"

	"github.com/millrace/millrace/adapters/httpapi/internal/admission"
	"github.com/millrace/millrace/application/usecase"
)

// middleware is what every request passes before it reaches an endpoint.
type middleware struct {
	responder
	readiness   *usecase.CheckReadiness
	hosts       hosts
	credentials []Credential
	requests    *admission.Limiter
	observe     func(http.Handler) http.Handler // nil: nobody does
}

// commonHeader is in every response.
var commonHeader = http.Header{
	"X-Content-Type-Options":  {"nosniff"},
	"Content-Security-Policy": {"default-src 'none'; frame-ancestors 'none'"},
	"Cache-Control":           {"no-cache"},
}

// wrap puts around the router what has to hold for every response. Whoever observes the
// requests is outermost, and hears of the refused ones, too.
func (m *middleware) wrap(next http.Handler) http.Handler {
	next = m.guard(m.checkHost(m.sameOrigin(m.authenticate(m.admit(next)))))
	if m.observe != nil {
		next = m.observe(next)
	}
	return next
}

// guard is the first that a request meets. When it returns, r.Pattern is the template of
// the route that the request has matched, as net/http's own router would leave it; empty
// if it has matched none.
func (m *middleware) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		received := r
		maps.Copy(w.Header(), commonHeader)
		if r.Method == http.MethodHead { // net/http sends no body, as it still knows the method
			get := *r
			get.Method = http.MethodGet
			r = &get
		}
		for _, name := range []string{"If-Match", "If-None-Match", "Prefer"} {
			if lines := r.Header.Values(name); len(lines) > 1 { // one list, which the generated code expects on one line
				r.Header.Set(name, strings.Join(lines, ", "))
			}
		}
		tracked := &trackingWriter{ResponseWriter: w, bodyUnread: r.ContentLength != 0}
		defer func() { received.Pattern = tracked.route }()
		defer m.recover(tracked, r)
		next.ServeHTTP(tracked, r)
		tracked.leaveBody()
	})
}

// noteRoute is the first that a request meets once it has matched a route.
func (m *middleware) noteRoute(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tracked(w).route = plainTemplate(route(r))
		next.ServeHTTP(w, r)
	})
}

// patternOf matches the pattern of a variable in a template.
var patternOf = regexp.MustCompile(`:[^{}]*}`)

// plainTemplate is a template without the patterns of its variables.
func plainTemplate(template string) string {
	if !strings.Contains(template, ":") { // as nearly all: spare each request the search
		return template
	}
	return patternOf.ReplaceAllString(template, "}")
}

// recover turns a panic into a 500, or aborts the response if it has begun.
func (m *middleware) recover(w *trackingWriter, r *http.Request) {
	cause := recover()
	if cause == nil {
		return
	}
	if cause == http.ErrAbortHandler { //nolint:errorlint // the value itself is what net/http looks for
		panic(cause)
	}
	m.log.ErrorContext(r.Context(), "panic in a request", "method", r.Method, "path", r.URL.Path,
		"panic", cause, "stack", string(debug.Stack()))
	if w.wroteHeader {
		panic(http.ErrAbortHandler)
	}
	m.writeProblem(w, internal.errorf("internal error"))
}

// admit answers 503 while the program is starting, and at once when the service
// is at its concurrency limit. Health checks always pass: a busy service is not dead.
func (m *middleware) admit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isOpen(r) {
			next.ServeHTTP(w, r)
			return
		}
		if err := m.readiness.Held(); err != nil {
			m.fail(w, r, err)
			return
		}
		if !m.requests.Acquire() {
			m.fail(w, r, overloaded.errorf("too many requests are in progress; nothing was done"))
			return
		}
		tracked(w).slot = m.requests
		defer releaseSlot(w)
		next.ServeHTTP(w, r)
	})
}

// releaseSlot gives the request's slot and the room of its body back, which may be before
// the request ends.
func releaseSlot(w http.ResponseWriter) {
	t := tracked(w)
	if t.bodyBytes > 0 {
		t.bytes.Release(t.bodyBytes)
		t.bodyBytes = 0
	}
	if t.slot != nil {
		t.slot.Release()
		t.slot = nil
	}
}

// trackingWriter knows whether a response has begun, whether its request's body was read,
// and which slot and room the request holds.
type trackingWriter struct {
	http.ResponseWriter
	wroteHeader bool
	bodyUnread  bool               // or not to its end
	route       string             // the template of its path; empty: it has matched none
	slot        *admission.Limiter // nil: none
	bytes       *admission.Bytes   // of which the body has taken bodyBytes
	bodyBytes   int64
}

// tracked is the writer that wrap has made.
func tracked(w http.ResponseWriter) *trackingWriter {
	t, ok := w.(*trackingWriter)
	if !ok {
		panic("httpapi: a handler without wrap around it")
	}
	return t
}

// WriteHeader begins the response.
func (w *trackingWriter) WriteHeader(status int) {
	w.begin()
	w.ResponseWriter.WriteHeader(status)
}

// Write begins the response, if WriteHeader has not.
func (w *trackingWriter) Write(p []byte) (int, error) {
	w.begin()
	return w.ResponseWriter.Write(p)
}

func (w *trackingWriter) begin() {
	if !w.wroteHeader {
		w.wroteHeader = true
		w.boundUnread(restTime)
	}
}

// Unwrap is for http.ResponseController.
func (w *trackingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
