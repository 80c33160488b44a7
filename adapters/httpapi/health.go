package httpapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/millrace/millrace/adapters/httpapi/internal/api"
	"github.com/millrace/millrace/application/usecase"
	"github.com/millrace/millrace/domain"
)

// probeTimeout bounds what /readyz asks: an answer that is late is a failure.
const probeTimeout = 2 * time.Second

// GetHealth is GET /healthz.
func (h *handlers) GetHealth(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, typeJSON, api.Health{Status: "alive"})
}

// GetReadiness is GET /readyz. It shows only what is safe to show; the rest of a
// failure is in the log.
func (h *handlers) GetReadiness(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), probeTimeout)
	defer cancel()
	found := h.uc.Readiness.Run(ctx)
	out := api.Readiness{Status: string(found.Health), Checks: make(map[string]string, len(found.Checks))}
	for name, err := range found.Checks {
		out.Checks[name] = h.check(r.Context(), name, err)
	}
	status := http.StatusOK
	if found.Health != usecase.HealthReady && found.Health != usecase.HealthDegraded {
		status = http.StatusServiceUnavailable
	}
	writeJSON(w, status, typeJSON, out)
}

func (h *handlers) check(ctx context.Context, name string, err error) string {
	if err == nil {
		return "ok"
	}
	h.log.DebugContext(ctx, "a check failed", "check", name, "error", err)
	if errors.Is(err, context.DeadlineExceeded) {
		return "does not answer in time"
	}
	if public := domain.Public(err); public.Code != domain.CodeInternal {
		return public.Message
	}
	return "failed; the log says more at level debug"
}
