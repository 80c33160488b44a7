package httpapi

import (
	"net/http"
	"slices"
	"strings"

	"github.com/gorilla/mux"

	"github.com/millrace/millrace/adapters/httpapi/internal/api"
	"github.com/millrace/millrace/domain"
)

// newRouter serves every operation of openapi.yaml, the assets of /docs, and the metrics
// unless they are nil.
func newRouter(m *middleware, e *endpoints, metrics http.Handler) http.Handler {
	r := bareRouter(m)
	if metrics != nil {
		r.Handle(metricsPath, metrics).Methods(http.MethodGet)
	}
	r.Handle(docsAssetRoute, docsUI).Methods(http.MethodGet)
	// These segments are not ids: they allow nothing but POST.
	notPOST := func(r *http.Request, _ *mux.RouteMatch) bool { return r.Method != http.MethodPost }
	r.Path("/tasks/{action:batch|bulk}").MatcherFunc(notPOST).Name(refusingRoute).
		HandlerFunc(func(w http.ResponseWriter, req *http.Request) { m.methodNotAllowed(w, req, r) })
	api.HandlerWithOptions(e, api.GorillaServerOptions{
		BaseRouter: r,
		ErrorHandlerFunc: func(w http.ResponseWriter, r *http.Request, err error) {
			m.fail(w, r, parameterProblem(err))
		},
	})
	return m.wrap(r)
}

// docsAssetRoute is the route of what the page /docs loads.
const docsAssetRoute = "/docs/{asset:" + docsAssets + "}"

// refusingRoute names a route that only refuses methods.
const refusingRoute = "refusing"

// bareRouter matches paths as they were sent: a cleaned path would be answered
// with a redirect, which turns a POST into a GET, and an encoded slash must not
// make one id two segments.
func bareRouter(m *middleware) *mux.Router {
	r := mux.NewRouter().SkipClean(true).UseEncodedPath()
	r.NotFoundHandler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.fail(w, r, noSuchPath.errorf("there is nothing at this path"))
	})
	r.MethodNotAllowedHandler = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		m.methodNotAllowed(w, req, r)
	})
	r.Use(m.noteRoute, m.negotiate, m.checkQuery)
	return r
}

// methodNotAllowed answers OPTIONS, and refuses a method that the path does not have.
func (m *middleware) methodNotAllowed(w http.ResponseWriter, r *http.Request, router *mux.Router) {
	allowed := []string{http.MethodOptions}
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		probe := *r
		probe.Method = method
		var match mux.RouteMatch
		if router.Match(&probe, &match) && match.MatchErr == nil && match.Route.GetName() != refusingRoute {
			allowed = append(allowed, method)
		}
	}
	if slices.Contains(allowed, http.MethodGet) {
		allowed = append(allowed, http.MethodHead)
	}
	slices.Sort(allowed)
	list := strings.Join(allowed, ", ")
	w.Header().Set("Allow", list)
	if r.Method == http.MethodOptions {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	m.fail(w, r, methodNotAllowed.errorf("method %s not allowed; allowed: %s", domain.Quoted(r.Method), list))
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
