package webhook

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/test/contract"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestHandler_KeepsThePort(t *testing.T) {
	t.Parallel()
	contract.Handler(t, func(t *testing.T, b contract.Behaviour) application.Handler {
		h := open(t, serve(t, behave(b)), Config{})
		if b == contract.Lacks {
			h.transport(t).DialContext = func(context.Context, string, string) (net.Conn, error) {
				return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("socket", syscall.EMFILE)}
			}
		}
		return h
	}, contract.Panics)
}

// serve starts a receiver, and ends it after the test.
func serve(t *testing.T, receive http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(receive)
	t.Cleanup(server.Close)
	return server
}

// open makes a handler that posts to the server, and closes it before the server ends.
func open(t *testing.T, server *httptest.Server, cfg Config) *Handler {
	t.Helper()
	cfg.URL, cfg.Concurrency = server.URL, 100
	h, closeHandler, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(closeHandler)
	return h
}

// behave is a receiver that does what the suite names.
func behave(b contract.Behaviour) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		switch {
		case err != nil:
			http.Error(w, err.Error(), http.StatusInternalServerError)
		case b == contract.Echoes:
			_, _ = w.Write(body)
		case b == contract.Names:
			fmt.Fprintf(w, "%s %s", r.Header.Get("webhook-id"), r.Header.Get("Millrace-Attempt"))
		case b == contract.Fails:
			http.Error(w, contract.HandlerReason, http.StatusInternalServerError)
		case b == contract.FailsAtOnce:
			http.Error(w, contract.HandlerReason, http.StatusUnprocessableEntity)
		case b == contract.Postpones:
			w.Header().Set("Retry-After", fmt.Sprint(contract.HandlerWait.Seconds()))
			http.Error(w, contract.HandlerReason, http.StatusServiceUnavailable)
		case b == contract.Hangs:
			<-r.Context().Done() // until the connection is given up
		case b == contract.Floods:
			_, _ = io.WriteString(w, strings.Repeat(contract.HandlerFlood, contract.HandlerVolume))
		case b == contract.Garbles:
			_, _ = io.WriteString(w, contract.HandlerGarbage)
		case b == contract.Rants:
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = io.WriteString(w, strings.Repeat(contract.HandlerGarbage+"\n", contract.HandlerVolume/len(contract.HandlerGarbage)))
		}
	}
}
