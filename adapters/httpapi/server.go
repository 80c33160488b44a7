package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/millrace/millrace/application"
)

// Config is what the API can be told. A zero duration or size means its default.
type Config struct {
	ListenAddr      string        // host:port; port 0 takes a free one
	MessageBytes    int           // longest message; 256 KiB. The limit on bodies follows from it
	DrainTime       time.Duration // how long /readyz says "stopping" before the listener closes; 500 ms
	ShutdownTimeout time.Duration // for requests in flight once the listener is closed; 20 s
	ReadTimeout     time.Duration // for a whole request to arrive; 30 s
}

// The bounds that no setting changes. The longest answer that is waited for
// takes a minute, so writing may take somewhat longer.
const (
	readHeaderTimeout = 10 * time.Second
	writeTimeout      = 90 * time.Second
	idleTimeout       = 120 * time.Second
	maxHeaderBytes    = 32 << 10
)

func (c Config) withDefaults() Config {
	orDefault(&c.MessageBytes, 256<<10)
	orDefault(&c.DrainTime, 500*time.Millisecond)
	orDefault(&c.ShutdownTimeout, 20*time.Second)
	orDefault(&c.ReadTimeout, 30*time.Second)
	return c
}

func orDefault[T comparable](v *T, otherwise T) {
	var zero T
	if *v == zero {
		*v = otherwise
	}
}

// UseCases is what the API can do. All are needed.
type UseCases struct {
	Submit    *application.SubmitTask
	Get       *application.GetTask
	List      *application.ListTasks
	Cancel    *application.CancelTask
	Reopen    *application.ReopenTask
	Readiness *application.CheckReadiness
}

// Server serves HTTP from Run to the end of its context.
type Server struct {
	http      *http.Server
	readiness *application.CheckReadiness
	drain     time.Duration
	shutdown  time.Duration
	listening chan net.Addr
}

// NewServer makes the server of the API.
func NewServer(cfg Config, uc UseCases, log *slog.Logger) *Server {
	cfg = cfg.withDefaults()
	h := &handlers{uc: uc, log: log, bodyLimit: bodyLimit(cfg.MessageBytes)}
	return newServer(cfg, newRouter(h), uc.Readiness, log)
}

// NewAdminServer makes a server that tells only how its program is: /healthz and
// /readyz. It is for programs that have no API.
func NewAdminServer(addr string, readiness *application.CheckReadiness, log *slog.Logger) *Server {
	h := &handlers{uc: UseCases{Readiness: readiness}, log: log}
	s := newServer(Config{ListenAddr: addr}.withDefaults(), newAdminRouter(h), readiness, log)
	s.drain = 0 // its program decides how long it is still asked
	return s
}

func newServer(cfg Config, handler http.Handler, readiness *application.CheckReadiness, log *slog.Logger) *Server {
	return &Server{
		http: &http.Server{
			Addr:              cfg.ListenAddr,
			Handler:           handler,
			ReadHeaderTimeout: readHeaderTimeout,
			ReadTimeout:       cfg.ReadTimeout,
			WriteTimeout:      writeTimeout,
			IdleTimeout:       idleTimeout,
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
	s.listening <- l.Addr()
	served := make(chan error, 1)
	go func() { served <- s.http.Serve(l) }()

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
		return fmt.Errorf("requests in flight did not end within %s: %w", s.shutdown, err)
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve on %s: %w", l.Addr(), err)
	}
	return nil
}
