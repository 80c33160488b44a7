package telemetry

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
)

// methods have a label of their own: a client may send any word as its method.
var methods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions,
}

// noRoute is the label of requests that were answered before a route was found, or that
// have none.
const noRoute = "none"

// HTTP measures how long next takes for requests, by their route, which is what Pattern of
// the request says once next has returned.
func (m *Metrics) HTTP(next http.Handler) http.Handler {
	m.registry.MustRegister(m.requests)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, begun, answer := r.Context(), time.Now(), &codeWriter{ResponseWriter: w, code: http.StatusOK}
		defer func() {
			method := r.Method
			if !slices.Contains(methods, method) {
				method = "other"
			}
			observe(ctx, m.requests.WithLabelValues(method, cmp.Or(r.Pattern, noRoute), strconv.Itoa(answer.code)), time.Since(begun).Seconds())
		}()
		next.ServeHTTP(answer, r)
	})
}

// codeWriter remembers the status of an answer.
type codeWriter struct {
	http.ResponseWriter
	code int
}

// WriteHeader begins the answer.
func (w *codeWriter) WriteHeader(code int) {
	if code >= http.StatusOK { // others come before the answer
		w.code = code
	}
	w.ResponseWriter.WriteHeader(code)
}

// Unwrap is for http.ResponseController.
func (w *codeWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// observe counts the value, with the trace of ctx as its example if that is recorded.
func observe(ctx context.Context, o prometheus.Observer, value float64) {
	span := trace.SpanContextFromContext(ctx)
	if with, ok := o.(prometheus.ExemplarObserver); ok && span.IsSampled() {
		with.ObserveWithExemplar(value, prometheus.Labels{"trace_id": span.TraceID().String()})
		return
	}
	o.Observe(value)
}
