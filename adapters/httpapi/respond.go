package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/millrace/millrace/adapters/httpapi/internal/api"
)

// responder turns errors into responses.
type responder struct{ log *slog.Logger }

// handle runs an endpoint, which writes its response unless it returns an error.
func (p responder) handle(w http.ResponseWriter, r *http.Request, endpoint func() error) {
	if err := endpoint(); err != nil {
		p.fail(w, r, err)
	}
}

// fail is the only place where an error becomes a response. A defect of ours is
// logged here, where it stops; the client learns nothing of it.
func (p responder) fail(w http.ResponseWriter, r *http.Request, err error) {
	found := problemOf(err)
	if found.kind.code == internal.code {
		if errors.Is(err, context.Canceled) && r.Context().Err() != nil {
			found = unavailable.errorf("the client has disconnected") // and reads no response
		} else {
			p.log.ErrorContext(r.Context(), "request failed", "method", r.Method, "route", route(r), "error", err)
			found = internal.errorf("internal error") // even if a defect has a message of its own
		}
	}
	p.writeProblem(w, found)
}

func (p responder) writeProblem(w http.ResponseWriter, found *problem) {
	if found.kind.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", retryAfter)
	}
	writeJSON(w, found.kind.status, typeProblem, api.Problem{
		Type: found.kind.uri(), Title: found.kind.title, Status: found.kind.status, Detail: found.detail, Errors: found.errors,
	}, jsontext.AllowInvalidUTF8(true)) // a detail may quote any byte that was sent
}
