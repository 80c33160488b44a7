package bootstrap

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
)

func TestTraces_AreThereOnlyIfOTELSaysSo(t *testing.T) {
	for env, want := range map[string]bool{
		"":                          false,
		"OTEL_SERVICE_NAME=tasks":   false,
		"OTEL_TRACES_EXPORTER=none": false,
		"OTEL_TRACES_EXPORTER=otlp": true,
		"OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318":                                    true,
		"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://collector:4318/v1/traces":                   true,
		"OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318 OTEL_TRACES_EXPORTER=none":          false,
		"OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318 OTEL_SDK_DISABLED=TRUE":             false,
		"OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318 OTEL_SDK_DISABLED=false":            true,
		"OTEL_EXPORTER_OTLP_ENDPOINT= OTEL_TRACES_EXPORTER= OTEL_SDK_DISABLED=":                false,
		"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=http://collector:4318 OTEL_METRICS_EXPORTER=otlp": false,
	} {
		cfg, err := LoadEmbedded(strings.Fields(env))
		if err != nil || cfg.wantsTraces() != want {
			t.Errorf("%s: traces %t, %v", env, cfg.wantsTraces(), err)
		}
	}
}

func TestTraces_AnExporterThatThereIsNotIsAWrongSetting(t *testing.T) {
	t.Setenv("OTEL_TRACES_EXPORTER", "pigeon")
	cfg, err := LoadEmbedded([]string{"OTEL_TRACES_EXPORTER=pigeon", "DATABASE_URL=sqlite:" + t.TempDir() + "/tasks.db"})
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = NewEmbedded(cfg, slog.New(slog.DiscardHandler))
	wrong, ok := errors.AsType[*SettingError](err)
	if !ok || wrong.Name != "OTEL_TRACES_EXPORTER" || wrong.Value != "pigeon" {
		t.Errorf("%v is not about the exporter", err)
	}
}
