package httpapi

import (
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/gorilla/mux"

	"github.com/millrace/millrace/adapters/httpapi/internal/api"
)

// handlers implements the generated interface.
type handlers struct {
	uc          UseCases
	log         *slog.Logger
	bodyLimit   int64
	batchLimit  int64
	credentials []Credential
	docs        []byte // the page
	requests    places // under way
	batches     places // under way
	waiting     places // for the store
	uploads     uploads
	// Those of batches, which are among uploads too.
	batchUploads uploads
}

var _ api.ServerInterface = (*handlers)(nil)

func newRouter(h *handlers) http.Handler {
	r := bareRouter(h)
	r.Handle("/docs/{asset:"+docsAssets+"}", docsUI).Methods(http.MethodGet)
	// These are no ids: they take nothing but POST.
	r.Path("/tasks/{action:batch|bulk}").MatcherFunc(func(r *http.Request, _ *mux.RouteMatch) bool { return r.Method != http.MethodPost }).
		Name(noRoute).HandlerFunc(func(w http.ResponseWriter, req *http.Request) { h.otherMethod(w, req, r) })
	api.HandlerWithOptions(h, api.GorillaServerOptions{BaseRouter: r, ErrorHandlerFunc: h.badParameter})
	return h.outermost(r)
}

// noRoute is the name of a route that only refuses.
const noRoute = "none"

func newAdminRouter(h *handlers) http.Handler {
	r := bareRouter(h)
	r.HandleFunc("/healthz", h.GetHealth).Methods(http.MethodGet)
	r.HandleFunc("/readyz", h.GetReadiness).Methods(http.MethodGet)
	return h.outermost(r)
}

// bareRouter matches paths as they were sent: a cleaned path would be answered
// with a redirect, which turns a POST into a GET, and an encoded slash must not
// make one id two segments.
func bareRouter(h *handlers) *mux.Router {
	r := mux.NewRouter().SkipClean(true).UseEncodedPath()
	r.NotFoundHandler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.fail(w, r, noSuchPath.because("there is nothing at this path"))
	})
	r.MethodNotAllowedHandler = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		h.otherMethod(w, req, r)
	})
	r.Use(h.negotiate, h.checkQuery)
	return r
}

// always is in the header of every answer.
var always = http.Header{
	"X-Content-Type-Options":  {"nosniff"},
	"Content-Security-Policy": {"default-src 'none'; frame-ancestors 'none'"},
	"Cache-Control":           {"no-cache"},
}

// outermost is around everything: what holds for every answer.
func (h *handlers) outermost(next http.Handler) http.Handler {
	next = h.sameOrigin(h.authenticate(h.admit(next)))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		maps.Copy(w.Header(), always)
		if r.Method == http.MethodHead { // net/http sends no body, as it still knows the method
			get := *r
			get.Method = http.MethodGet
			r = &get
		}
		for _, name := range []string{"If-Match", "If-None-Match", "Prefer"} {
			if lines := r.Header.Values(name); len(lines) > 1 { // one list, which the generated code takes as one line
				r.Header.Set(name, strings.Join(lines, ", "))
			}
		}
		answer := &watchedWriter{ResponseWriter: w}
		defer h.recover(answer, r)
		next.ServeHTTP(answer, r)
	})
}

// recover turns a panic into a 500, or cuts the answer off if it has begun.
func (h *handlers) recover(w *watchedWriter, r *http.Request) {
	cause := recover()
	if cause == nil {
		return
	}
	if cause == http.ErrAbortHandler { //nolint:errorlint // the value itself is what net/http looks for
		panic(cause)
	}
	h.log.ErrorContext(r.Context(), "panic in a request", "method", r.Method, "path", r.URL.Path,
		"panic", cause, "stack", string(debug.Stack()))
	if w.begun {
		panic(http.ErrAbortHandler)
	}
	h.writeProblem(w, internal.because("internal error"))
}

// watchedWriter knows whether an answer has begun, and what its request holds.
type watchedWriter struct {
	http.ResponseWriter
	begun bool
	place places // the request has one of them; nil: it has none
}

// watched is the writer that outermost has made.
func watched(w http.ResponseWriter) *watchedWriter {
	made, ok := w.(*watchedWriter)
	if !ok {
		panic("httpapi: a handler without outermost around it")
	}
	return made
}

// WriteHeader begins the answer.
func (w *watchedWriter) WriteHeader(status int) {
	w.begun = true
	w.ResponseWriter.WriteHeader(status)
}

// Write begins the answer, if WriteHeader has not.
func (w *watchedWriter) Write(p []byte) (int, error) {
	w.begun = true
	return w.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (w *watchedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// otherMethod answers a method that the path does not have, and OPTIONS.
func (h *handlers) otherMethod(w http.ResponseWriter, r *http.Request, router *mux.Router) {
	allow := []string{http.MethodOptions}
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		probe := *r
		probe.Method = method
		var match mux.RouteMatch
		if router.Match(&probe, &match) && match.MatchErr == nil && match.Route.GetName() != noRoute {
			allow = append(allow, method)
		}
	}
	if slices.Contains(allow, http.MethodGet) {
		allow = append(allow, http.MethodHead)
	}
	slices.Sort(allow)
	w.Header().Set("Allow", strings.Join(allow, ", "))
	if r.Method == http.MethodOptions {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	h.fail(w, r, methodNotAllowed.because("%.20q is not possible here; %s are", r.Method, strings.Join(allow, ", ")))
}

// queries lists the parameters of the routes that take them strictly. Probes and
// pages are not on it: those who ask for them add what they like.
var queries = map[string][]string{
	"GET /tasks": {
		"status", "queue", "created_from", "created_before", "finished_from", "finished_before", "metadata", "text", "limit", "cursor",
	},
	"POST /tasks":              {},
	"POST /tasks/batch":        {},
	"POST /tasks/bulk":         {},
	"GET /tasks/{id}":          {"wait"},
	"PATCH /tasks/{id}":        {},
	"GET /tasks/{id}/attempts": {},
	"GET /tasks/{id}/explain":  {},
	"GET /bulk/{id}":           {},
	"GET /queues":              {},
	"GET /queues/{name}":       {},
	"PATCH /queues/{name}":     {},
}

// repeatable are the parameters that may be given more than once.
var repeatable = []string{"status", "queue", "metadata"}

// checkQuery refuses parameters that are unknown or doubled: a filter that is
// misspelled must not list everything. Empty ones are taken out, as absent.
func (h *handlers) checkQuery(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		known, listed := queries[r.Method+" "+route(r)]
		if !listed || r.URL.RawQuery == "" {
			next.ServeHTTP(w, r)
			return
		}
		query, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil {
			h.fail(w, r, malformed.because("the query cannot be read: %v", err))
			return
		}
		var errs []api.ProblemError
		for name, values := range query {
			switch {
			case !slices.Contains(known, name):
				errs = append(errs, wrongParameter(name, "is not a known parameter"))
			case len(values) > 1 && !slices.Contains(repeatable, name):
				errs = append(errs, wrongParameter(name, "must be given once"))
			}
			if query[name] = slices.DeleteFunc(values, func(v string) bool { return v == "" }); len(query[name]) == 0 {
				delete(query, name)
			}
		}
		if len(errs) > 0 {
			h.fail(w, r, invalid.with(errs...))
			return
		}
		r.URL.RawQuery = query.Encode()
		next.ServeHTTP(w, r)
	})
}

// badParameter is told by the generated code what it could not bind.
func (h *handlers) badParameter(w http.ResponseWriter, r *http.Request, err error) {
	h.fail(w, r, unbound(err))
}

// route is the path template that r matched.
func route(r *http.Request) string {
	if current := mux.CurrentRoute(r); current != nil {
		if template, err := current.GetPathTemplate(); err == nil {
			return template
		}
	}
	return r.URL.Path
}
