package httpapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/millrace/millrace/adapters/httpapi/internal/api"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/usecase"
	"github.com/millrace/millrace/domain"
)

// probeTimeout bounds what /readyz asks: an answer that is late is a failure.
const probeTimeout = 2 * time.Second

// GetHealth is GET /healthz.
func (e *endpoints) GetHealth(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, typeJSON, api.Health{Status: "alive"})
}

// GetReadiness is GET /readyz. It shows only what is safe to show; the rest of a
// failure is in the log.
func (e *endpoints) GetReadiness(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), probeTimeout)
	defer cancel()
	found := e.uc.Readiness.Run(ctx)
	out := api.Readiness{Status: string(found.Health), Checks: make(map[string]string, len(found.Checks))}
	for name, err := range found.Checks {
		out.Checks[name] = e.check(r.Context(), name, err)
	}
	status := http.StatusOK
	if found.Health != usecase.HealthReady && found.Health != usecase.HealthDegraded {
		status = http.StatusServiceUnavailable
	}
	writeJSON(w, status, typeJSON, out)
}

func (e *endpoints) check(ctx context.Context, name string, err error) string {
	if err == nil {
		return "ok"
	}
	e.log.DebugContext(ctx, "readiness check failed", "check", name, "error", err)
	if reason := application.ReasonOf(err); reason != "" {
		return reason
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "did not answer in time"
	}
	if public := domain.Public(err); public.Code != domain.CodeInternal {
		return public.Message
	}
	return "failed; see the log at level debug"
}
