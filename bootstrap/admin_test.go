package bootstrap

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/application/usecase"
)

func TestAdminAddr_IsOnLoopbackUnlessItIsSet(t *testing.T) {
	api, err := LoadAPI(nil)
	if err != nil || !onLoopback(api.AdminAddr) {
		t.Errorf("api: %q %v", api.AdminAddr, err)
	}
	worker, err := LoadWorker([]string{"HANDLER=noop:"})
	if err != nil || !onLoopback(worker.AdminAddr) {
		t.Errorf("worker: %q %v", worker.AdminAddr, err)
	}
	embedded, err := LoadEmbedded(nil)
	if err != nil || !onLoopback(embedded.AdminAddr) {
		t.Errorf("millrace: %q %v", embedded.AdminAddr, err)
	}
}

func TestAdminAddr_ThatIsWrongEndsEveryProgramWithOneLine(t *testing.T) {
	for _, value := range []string{"9090", "127.0.0.1", "127.0.0.1:http", "127.0.0.1:65536", "on"} {
		for name, load := range map[string]func([]string) error{"api": loadAPI, "millrace": loadEmbedded, "worker": func(env []string) error {
			_, err := LoadWorker(append(env, "HANDLER=noop:"))
			return err
		}} {
			err := load([]string{"ADMIN_ADDR=" + value})
			if wrong, ok := errors.AsType[*SettingError](err); !ok || wrong.Name != "ADMIN_ADDR" || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s with %q: %v", name, value, err)
			}
		}
	}
}

func TestAdminAddr_OfAHealthcheckHasAFixedPort(t *testing.T) {
	for addr, ok := range map[string]bool{"127.0.0.1:9090": true, "127.0.0.1:0": false, "off": false} {
		if got, err := (AdminConfig{addr}).FixedAddr(); ok != (err == nil) || ok && got != addr {
			t.Errorf("%s: %q %v", addr, got, err)
		}
	}
}

func TestMetricsSetting_WantsKeysWhereItAsksForThem(t *testing.T) {
	keys := "API_KEYS=ann=" + digestOf("a")
	for _, c := range []struct {
		env []string
		ok  bool
	}{
		{nil, true},
		{[]string{"METRICS=off"}, true},
		{[]string{"METRICS=public"}, true},
		{[]string{"METRICS=key", keys}, true},
		{[]string{"METRICS=key"}, false},
		{[]string{"METRICS=Public"}, false},
	} {
		for name, load := range map[string]func([]string) error{"api": loadAPI, "millrace": loadEmbedded} {
			err := load(c.env)
			wrong, refused := errors.AsType[*SettingError](err)
			if c.ok != (err == nil) || refused && wrong.Name != "METRICS" {
				t.Errorf("%s with %q: %v", name, c.env, err)
			}
		}
	}
}

func TestAdminServer_ThatCannotListenEndsItsProgram(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	log := slog.New(slog.DiscardHandler)
	admin := provideAdmin(AdminConfig{taken.Addr().String()}, nil, usecase.NewCheckReadiness(), log)
	err = admin.around(t.Context(), untilDone)
	if err == nil || !strings.Contains(err.Error(), taken.Addr().String()) || strings.Contains(err.Error(), "\n") {
		t.Errorf("serve: %v", err)
	}
}

func TestAdminServer_EndsWhenWhatItIsAroundFails(t *testing.T) {
	failed := errors.New("failed")
	for _, addr := range []string{"127.0.0.1:0", adminOff} {
		admin := provideAdmin(AdminConfig{addr}, nil, usecase.NewCheckReadiness(), slog.New(slog.DiscardHandler))
		if err := admin.around(t.Context(), func(context.Context) error { return failed }); !errors.Is(err, failed) {
			t.Errorf("%s: %v", addr, err)
		}
	}
}

func TestAdminServer_ServesUntilTheWorkIsDone(t *testing.T) {
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "metrics") })
	ready := usecase.NewCheckReadiness()
	admin := provideAdmin(AdminConfig{"127.0.0.1:0"}, metrics, ready, slog.New(slog.DiscardHandler))
	lines := make(logLines, 1)
	admin.log = slog.New(slog.NewJSONHandler(lines, nil))
	ctx, stop := context.WithCancel(t.Context())
	address := ""
	get := func(path string) (int, string) {
		res, err := http.Get("http://" + address + path)
		if err != nil {
			return 0, err.Error()
		}
		defer func() { _ = res.Body.Close() }()
		body, err := io.ReadAll(res.Body)
		return res.StatusCode, fmt.Sprint(string(body), err)
	}
	want := func(when, path string, want int) {
		t.Helper()
		if got, body := get(path); got != want {
			t.Errorf("%s %s: %d %s, want %d", when, path, got, body, want)
		}
	}
	if err := admin.around(ctx, func(ctx context.Context) error {
		address = (<-lines)["address"].(string)
		want("at work", "/readyz", http.StatusOK)
		stop()
		<-ctx.Done()
		for begun := time.Now(); ready.Run(t.Context()).Health != usecase.HealthStopping && time.Since(begun) < 5*time.Second; {
			time.Sleep(time.Millisecond)
		}
		want("at the stop", "/readyz", http.StatusServiceUnavailable)
		want("at the stop", "/metrics", http.StatusOK)
		want("at the stop", "/debug/pprof/cmdline", http.StatusOK)
		return nil
	}); err != nil {
		t.Error(err)
	}
	if code, _ := get("/metrics"); code != 0 {
		t.Error("it serves after the end")
	}
}

// logLines are the lines of a log.
type logLines chan map[string]any

func (l logLines) Write(line []byte) (int, error) {
	var fields map[string]any
	if err := json.Unmarshal(line, &fields); err != nil {
		return 0, err
	}
	l <- fields
	return len(line), nil
}
