package httpapi

import (
	"log/slog"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/millrace/millrace/application/usecase"
)

// AdminConfig are the settings of a program's admin server.
type AdminConfig struct {
	ListenAddr string       // host:port; port 0 takes a free one
	Loopback   bool         // only this machine reaches the address
	Metrics    http.Handler // answers GET /metrics
}

// NewAdminServer makes the server that tells operators how its program is: its health, its
// metrics, and the profiles of net/http/pprof. It serves no task, asks for no key, and
// answers while the program starts or has no slot free, which is when it is needed most.
// When it stops, which is the last that its program does, it waits a quarter of a second
// for its requests, then cuts them off.
func NewAdminServer(cfg AdminConfig, readiness *usecase.CheckReadiness, log *slog.Logger) *Server {
	common := Config{ListenAddr: cfg.ListenAddr, Connections: 100, ShutdownTimeout: 250 * time.Millisecond}.withDefaults()
	if !cfg.Loopback {
		common.AllowedHosts = []string{AnyHost}
	}
	m, e := common.build(UseCases{Readiness: readiness}, nil, log)
	s := newServer(common, newAdminRouter(m, e, cfg.Metrics), readiness, log)
	s.drain = 0 // its program decides how long it is still asked
	s.cutsOff = true
	return s
}

// profilesRoute is the route of the profiles of net/http/pprof, and of their list.
const profilesRoute = "/debug/pprof/{profile:.*}"

// newAdminRouter serves health by any name: there is nothing to read but that. What else
// it tells is not for a page that has made a name of its own point to this machine.
func newAdminRouter(m *middleware, e *endpoints, metrics http.Handler) http.Handler {
	r := bareRouter(m)
	r.HandleFunc(healthPath, e.GetHealth).Methods(http.MethodGet)
	r.HandleFunc(readinessPath, e.GetReadiness).Methods(http.MethodGet)
	r.Handle(metricsPath, m.checkHost(metrics)).Methods(http.MethodGet)
	r.Handle(profilesRoute, m.checkHost(http.HandlerFunc(profile))).Methods(http.MethodGet)
	return m.guard(r)
}

// profile answers with a profile of the program, or with the list of them.
func profile(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/debug/pprof/cmdline":
		pprof.Cmdline(w, r)
	case "/debug/pprof/profile":
		pprof.Profile(w, r)
	case "/debug/pprof/symbol":
		pprof.Symbol(w, r)
	case "/debug/pprof/trace":
		pprof.Trace(w, r)
	default:
		pprof.Index(w, r)
	}
}
