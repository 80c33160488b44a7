package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/millrace/millrace/adapters/httpapi/internal/admission"
	"github.com/millrace/millrace/application/usecase"
)

// Config are the settings of the API. A zero duration, size or number means its
// default, which is what the comment ends with.
type Config struct {
	ListenAddr  string       // host:port; port 0 takes a free one
	Credentials []Credential // the keys that open every route but health; none: the API is open to all
	// AllowedHosts are the names that requests may call the server by, besides localhost
	// and the host of ListenAddr. IP addresses need not be listed. AnyHost: anything.
	AllowedHosts []string

	Version string // of the program, for people
	// Observe is put around all that is served, for metrics and traces. When the handler
	// that it gets has returned, r.Pattern is the template of the request's route, empty if
	// it has matched none. nil: nobody observes.
	Observe func(http.Handler) http.Handler

	Metrics     http.Handler // answers GET /metrics; nil: nothing does
	MetricsOpen bool         // /metrics needs no key

	MessageBytes int // longest message; 256 KiB. The limit on bodies follows from it
	BatchBytes   int // largest body of a batch; 16 MiB
	Batches      int // most in progress, as each may take several times BatchBytes of memory; the next gets 503 at once; 16
	BodyBytes    int // most bytes of bodies in memory at once; the next waits a little, then gets 503; 128 MiB
	Connections  int // most open ones; 4000
	Requests     int // most in progress, health checks apart; the next gets 503 at once; 1000
	Waiting      int // most that wait for the store; the next gets 503 at once; 500

	ReadHeaderTimeout time.Duration // for a request's header to arrive; 10 s
	ReadTimeout       time.Duration // for a whole request to arrive; 30 s
	WriteTimeout      time.Duration // from header to end of answer, the longest of which takes a minute; 90 s
	IdleTimeout       time.Duration // between two requests on a connection; 120 s
	DrainTime         time.Duration // how long /readyz says "stopping" before the listener closes; 500 ms
	ShutdownTimeout   time.Duration // for requests in flight once the listener is closed; 20 s
}

const maxHeaderBytes = 32 << 10

func (c Config) withDefaults() Config {
	orDefault(&c.MessageBytes, 256<<10)
	orDefault(&c.BatchBytes, 16<<20)
	orDefault(&c.Batches, 16)
	orDefault(&c.BodyBytes, 256<<20)
	orDefault(&c.Connections, 4000)
	orDefault(&c.Requests, 1000)
	orDefault(&c.Waiting, 500)
	orDefault(&c.ReadHeaderTimeout, 10*time.Second)
	orDefault(&c.ReadTimeout, 30*time.Second)
	orDefault(&c.WriteTimeout, 90*time.Second)
	orDefault(&c.IdleTimeout, 120*time.Second)
	orDefault(&c.DrainTime, 500*time.Millisecond)
	orDefault(&c.ShutdownTimeout, 20*time.Second)
	return c
}

// openPaths are the paths that need no key: those who probe them have none.
func (c Config) openPaths() []string {
	if c.MetricsOpen {
		return []string{healthPath, readinessPath, metricsPath}
	}
	return []string{healthPath, readinessPath}
}

// build makes the middleware and the endpoints, which share a limit on requests.
func (c Config) build(uc UseCases, store StoreObserver, log *slog.Logger) (*middleware, *endpoints) {
	requests, batches := admission.NewLimiter(c.Requests), admission.NewLimiter(c.Batches)
	bytes := admission.NewBytes(int64(c.BodyBytes))
	m := &middleware{
		responder: newResponder(log), readiness: uc.Readiness, hosts: newHosts(c.ListenAddr, c.AllowedHosts),
		credentials: c.Credentials, requests: requests, open: c.openPaths(), observe: c.Observe,
	}
	e := &endpoints{
		responder: newResponder(log), uc: uc, docs: docsPage(c.Version, len(c.Credentials) > 0),
		store: store, storeCalls: admission.NewLimiter(c.Waiting), batches: batches,
		bodies:      bodyReader{limit: bodyLimit(c.MessageBytes), bytes: bytes, limiters: []*admission.Limiter{requests}},
		batchBodies: bodyReader{limit: int64(c.BatchBytes), bytes: bytes, limiters: []*admission.Limiter{requests, batches}},
	}
	return m, e
}

func orDefault[T comparable](v *T, otherwise T) {
	var zero T
	if *v == zero {
		*v = otherwise
	}
}

// Server serves HTTP from Run to the end of its context.
type Server struct {
	http      *http.Server
	conns     *admission.ConnLimiter
	readiness *usecase.CheckReadiness
	drain     time.Duration
	shutdown  time.Duration
	cutsOff   bool // requests that outlast shutdown, without calling that an error
	listening chan net.Addr
}

// NewServer makes the server of the API.
func NewServer(cfg Config, uc UseCases, store StoreObserver, log *slog.Logger) *Server {
	cfg = cfg.withDefaults()
	m, e := cfg.build(uc, store, log)
	return newServer(cfg, newRouter(m, e, cfg.Metrics), uc.Readiness, log)
}

func newServer(cfg Config, handler http.Handler, readiness *usecase.CheckReadiness, log *slog.Logger) *Server {
	conns := admission.NewConnLimiter(cfg.Connections)
	return &Server{
		conns: conns,
		http: &http.Server{
			Addr:              cfg.ListenAddr,
			Handler:           handler,
			ReadHeaderTimeout: cfg.ReadHeaderTimeout,
			ReadTimeout:       cfg.ReadTimeout,
			WriteTimeout:      cfg.WriteTimeout,
			IdleTimeout:       cfg.IdleTimeout,
			ConnState:         conns.OnConnState,
			MaxHeaderBytes:    maxHeaderBytes,
			ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		},
		readiness: readiness,
		drain:     cfg.DrainTime,
		shutdown:  cfg.ShutdownTimeout,
		listening: make(chan net.Addr, 1),
	}
}

// Handler is what the server serves, for whoever has a listener of their own.
func (s *Server) Handler() http.Handler { return s.http.Handler }

// Listening gives the address, once, as soon as connections are accepted; if Run
// cannot listen, never.
func (s *Server) Listening() <-chan net.Addr { return s.listening }

// Run listens and serves until ctx ends. Then /readyz says that the program is
// stopping, for the drain time all else goes on as before, so that balancers can
// turn away; then the listener closes, and requests in flight are finished. Those
// that take longer than the shutdown timeout are cut off: that is an error. Run
// is for one call.
func (s *Server) Run(ctx context.Context) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", s.http.Addr)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", s.http.Addr, err)
	}
	s.conns.Listener = l
	s.listening <- l.Addr()
	served := make(chan error, 1)
	go func() { served <- s.http.Serve(s.conns) }()

	select {
	case err := <-served:
		return fmt.Errorf("serve on %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	s.readiness.Stop()
	select {
	case err := <-served:
		return fmt.Errorf("serve on %s: %w", l.Addr(), err)
	case <-time.After(s.drain):
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.shutdown)
	defer cancel()
	if err := s.http.Shutdown(end); err != nil {
		_ = s.http.Close()
		if s.cutsOff {
			return nil
		}
		return fmt.Errorf("requests in flight did not end within %s: %w", s.shutdown, err)
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve on %s: %w", l.Addr(), err)
	}
	return nil
}
