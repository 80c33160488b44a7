package bootstrap

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"

	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/adapters/httpapi"
	"github.com/millrace/millrace/application/usecase"
)

// adminOff is the ADMIN_ADDR of a program without an admin server.
const adminOff = "off"

// FixedAddr is the address of the admin server, if that is known before it listens.
func (c AdminConfig) FixedAddr() (string, error) {
	if _, port, err := net.SplitHostPort(c.AdminAddr); err != nil || port == "0" {
		return "", &SettingError{"ADMIN_ADDR", c.AdminAddr, "host:port with a port of its own to use healthcheck"}
	}
	return c.AdminAddr, nil
}

// adminServer serves operators. Without a server, as ADMIN_ADDR=off wants it, it does nothing.
type adminServer struct {
	server *httpapi.Server
	ready  *usecase.CheckReadiness
	log    *slog.Logger
}

// scrapes answers GET /metrics with all that a program has to tell.
type scrapes http.Handler

func provideAdmin(cfg AdminConfig, metrics scrapes, ready *usecase.CheckReadiness, log *slog.Logger) *adminServer {
	if cfg.AdminAddr == adminOff {
		return &adminServer{}
	}
	server := httpapi.NewAdminServer(httpapi.AdminConfig{
		ListenAddr: cfg.AdminAddr, Loopback: onLoopback(cfg.AdminAddr), Metrics: metrics,
	}, ready, log)
	return &adminServer{server: server, ready: ready, log: log}
}

// around runs run, and serves operators until it has returned: long after the end of ctx
// for a worker with tasks, whose metrics and profiles are wanted then, too. At the end of
// ctx only readiness changes. If the server fails, that ends run.
func (a *adminServer) around(ctx context.Context, run func(context.Context) error) error {
	if a.server == nil {
		return run(ctx)
	}
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer context.AfterFunc(ctx, a.ready.Stop)()
	both, ctx := errgroup.WithContext(ctx)
	both.Go(func() error { return a.run(serving) })
	both.Go(func() error {
		defer stop()
		return run(ctx)
	})
	return both.Wait()
}

// run serves until ctx ends, and logs the address, whose port may be any free one.
func (a *adminServer) run(ctx context.Context) error {
	go func() {
		select {
		case addr := <-a.server.Listening():
			a.log.Info("admin server listening", "address", addr.String())
		case <-ctx.Done():
		}
	}()
	if err := a.server.Run(ctx); err != nil {
		return fmt.Errorf("admin server: %w", err)
	}
	return nil
}

// untilDone is the serve of a program that serves nobody but its operators.
func untilDone(ctx context.Context) error {
	<-ctx.Done()
	return nil
}
