package millrace_test

import (
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"testing"

	"github.com/millrace/millrace"
)

func TestServe_IgnoresTheHandlerOfTheEnvironment(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	err := millrace.Serve(ctx, func(context.Context, millrace.Task) (string, error) { return "", nil }, millrace.Options{
		Env: []string{
			"HANDLER=exec:/no/such/program", "LISTEN_ADDR=127.0.0.1:0", "DATABASE_URL=sqlite:" + filepath.Join(t.TempDir(), "tasks.db"),
		},
		Log:   slog.New(slog.DiscardHandler),
		Ready: func(net.Addr) { stop() },
	})
	stop()
	if err != nil {
		t.Error(err)
	}
}
