package bootstrap

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"

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
	err = admin.beside(untilDone)(t.Context())
	if err == nil || !strings.Contains(err.Error(), taken.Addr().String()) || strings.Contains(err.Error(), "\n") {
		t.Errorf("serve: %v", err)
	}
}

func TestAdminServer_EndsWhenWhatItIsBesideFails(t *testing.T) {
	failed := errors.New("failed")
	for _, addr := range []string{"127.0.0.1:0", adminOff} {
		admin := provideAdmin(AdminConfig{addr}, nil, usecase.NewCheckReadiness(), slog.New(slog.DiscardHandler))
		if err := admin.beside(func(context.Context) error { return failed })(t.Context()); !errors.Is(err, failed) {
			t.Errorf("%s: %v", addr, err)
		}
	}
}
