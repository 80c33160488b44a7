package httpapi_test

import (
	"crypto/sha256"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/millrace/millrace/adapters/httpapi"
	"github.com/millrace/millrace/application/usecase"
)

// figures answers a scrape in these tests.
var figures = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "some_figure 1\n") })

func newAdmin(loopback bool) *httpapi.Server {
	ready := usecase.NewCheckReadiness()
	ready.Hold() // it starts, which is when operators want to look
	return httpapi.NewAdminServer(httpapi.AdminConfig{ListenAddr: "127.0.0.1:0", Loopback: loopback, Metrics: figures}, ready, slog.New(slog.DiscardHandler))
}

func TestAdminServer_TellsHowTheProgramIsAndServesNoTask(t *testing.T) {
	base, stop, ended := run(t, newAdmin(true))
	for path, want := range map[string]int{
		"/healthz": 200, "/readyz": 503, "/metrics": 200, "/debug/pprof/": 200, "/debug/pprof/cmdline": 200,
		"/debug/pprof/goroutine?debug=1": 200, "/debug/pprof/symbol": 200, "/debug/pprof/trace?seconds=0.01": 200,
		"/debug/pprof/profile?seconds=1": 200, "/debug/pprof/none": 404, "/tasks": 404, "/docs": 404, "/": 404,
	} {
		if got := status(t, base+path); got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestAdminServer_CutsOffAProfileWhenItStops(t *testing.T) {
	base, stop, ended := run(t, newAdmin(true))
	begun, cut := make(chan struct{}), make(chan error, 1)
	go func() {
		res, err := http.Get(base + "/debug/pprof/trace?seconds=60") // which writes at once
		close(begun)
		if err == nil {
			_, err = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
		}
		cut <- err
	}()
	<-begun
	stop()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	if err := <-cut; err == nil {
		t.Error("the trace went on to its end")
	}
}

// A page can make a name of its own point to the machine of its visitor.
func TestAdminServer_OnLoopbackTellsNamesNothingButHealth(t *testing.T) {
	for _, c := range []struct {
		loopback bool
		host     string
		path     string
		want     int
	}{
		{true, "evil.example", "/metrics", 421},
		{true, "evil.example", "/debug/pprof/", 421},
		{true, "evil.example", "/healthz", 200},
		{true, "localhost:9090", "/metrics", 200},
		{true, "127.0.0.1:9090", "/debug/pprof/", 200},
		{false, "worker-3.example:9090", "/metrics", 200},
		{false, "10.0.0.1:9090", "/debug/pprof/", 200},
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, c.path, nil)
		r.Host = c.host
		answer := httptest.NewRecorder()
		newAdmin(c.loopback).Handler().ServeHTTP(answer, r)
		if answer.Code != c.want {
			t.Errorf("%+v: %d", c, answer.Code)
		}
	}
}

func TestMetrics_OfTheAPIAreServedToWhomItsOperatorSays(t *testing.T) {
	const key = "a-key-that-is-long-enough-to-be-one"
	for name, c := range map[string]struct {
		metrics      http.Handler
		open         bool
		without, own int // status without a key, with one
	}{
		"off":    {nil, false, 401, 404},
		"key":    {figures, false, 401, 200},
		"public": {figures, true, 200, 200},
	} {
		s := newService(t, func(cfg *httpapi.Config) {
			cfg.Credentials = []httpapi.Credential{{Name: "one", SHA256: sha256.Sum256([]byte(key))}}
			cfg.Metrics, cfg.MetricsOpen = c.metrics, c.open
		})
		ask := func(path, accept, key string) int {
			t.Helper()
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Accept", accept)
			if key != "" {
				r.Header.Set("Authorization", "Bearer "+key)
			}
			res, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			text, _ := io.ReadAll(res.Body)
			if res.StatusCode == http.StatusOK && !strings.HasPrefix(string(text), "some_figure") {
				t.Errorf("%s: %s", name, text)
			}
			return res.StatusCode
		}
		const asPrometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3"
		if got := ask("/metrics", asPrometheus, ""); got != c.without {
			t.Errorf("%s: %d without a key, want %d", name, got, c.without)
		}
		if got := ask("/metrics", asPrometheus, key); got != c.own {
			t.Errorf("%s: %d with a key, want %d", name, got, c.own)
		}
		if got := ask("/debug/pprof/", "*/*", key); got != http.StatusNotFound {
			t.Errorf("%s: the API answers /debug/pprof/ with %d", name, got)
		}
	}
}
