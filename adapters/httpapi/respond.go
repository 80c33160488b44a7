package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/gorilla/mux"

	"github.com/millrace/millrace/adapters/httpapi/internal/api"
)

// responder turns errors into responses.
type responder struct {
	log  *slog.Logger
	told *onceEach // damaged records
}

func newResponder(log *slog.Logger) responder {
	return responder{log: log, told: &onceEach{seen: map[string]struct{}{}}}
}

// onceEach tells of texts whether they are new. It is safe for concurrent use.
type onceEach struct {
	mu   sync.Mutex
	seen map[string]struct{}
}

// maxTold bounds what is remembered. Beyond it, all is told again.
const maxTold = 10_000

func (o *onceEach) isNew(text string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, old := o.seen[text]; old {
		return false
	}
	if len(o.seen) >= maxTold {
		clear(o.seen)
	}
	o.seen[text] = struct{}{}
	return true
}

// handle runs an endpoint, which writes its response unless it returns an error.
func (p responder) handle(w http.ResponseWriter, r *http.Request, endpoint func() error) {
	if err := endpoint(); err != nil {
		p.fail(w, r, err)
	}
}

// fail is the only place where an error becomes a response. A defect of ours is
// logged here, where it stops; the client learns nothing of it. So is what the database
// has refused, and a damaged record, once: it is met again and again.
func (p responder) fail(w http.ResponseWriter, r *http.Request, err error) {
	found := problemOf(err)
	switch found.kind.code {
	case refused.code:
		p.log.ErrorContext(r.Context(), "the database refused a request", about(r, err)...)
	case damaged.code:
		if p.told.isNew(found.detail) {
			p.log.ErrorContext(r.Context(), "a record in the database is damaged", about(r, err)...)
		}
	case internal.code:
		if errors.Is(err, context.Canceled) && r.Context().Err() != nil {
			found = unavailable.errorf("the client has disconnected") // and reads no response
		} else {
			p.log.ErrorContext(r.Context(), "request failed", about(r, err)...)
			found = internal.errorf("internal error") // even if a defect has a message of its own
		}
	}
	p.writeProblem(w, found)
}

// about is what a line of the log says of a request, and of the task that it is about.
func about(r *http.Request, err error) []any {
	attrs := []any{"method", r.Method, "route", route(r), "error", err}
	if id, ok := mux.Vars(r)["id"]; ok && strings.HasPrefix(r.URL.Path, "/tasks/") {
		attrs = append(attrs, "task", id)
	}
	return attrs
}

func (p responder) writeProblem(w http.ResponseWriter, found *problem) {
	if found.kind.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", retryAfter)
	}
	writeJSON(w, found.kind.status, typeProblem, api.Problem{
		Type: found.kind.uri(), Title: found.kind.title, Status: found.kind.status, Detail: found.detail, Errors: found.errors,
	}, jsontext.AllowInvalidUTF8(true)) // a detail may quote any byte that was sent
}
