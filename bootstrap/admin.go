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
	return &adminServer{server: server, log: log}
}

// beside makes a serve that serves operators, too. When either fails, it ends the other.
func (a *adminServer) beside(serve func(context.Context) error) func(context.Context) error {
	if a.server == nil {
		return serve
	}
	return func(ctx context.Context) error {
		both, ctx := errgroup.WithContext(ctx)
		both.Go(func() error { return a.run(ctx) })
		both.Go(func() error { return serve(ctx) })
		return both.Wait()
	}
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
