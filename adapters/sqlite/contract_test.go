package sqlite_test

import (
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/millrace/millrace/adapters/telemetry"
	"github.com/millrace/millrace/test/contract"
)

func TestRepositories(t *testing.T) {
	contract.Repositories(t, func(t *testing.T) contract.Store {
		db, _ := open(t, fresh(t))
		return storeOn(db)
	})
}

func TestRepositories_KeepTheirPromisesWithTraces(t *testing.T) {
	traces := telemetry.NewTraces(sdktrace.NewTracerProvider())
	contract.Repositories(t, func(t *testing.T) contract.Store {
		db, _ := open(t, fresh(t))
		s := storeOn(db)
		s.Tasks = traces.Tasks(s.Tasks)
		return s
	})
}
