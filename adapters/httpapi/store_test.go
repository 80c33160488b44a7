package httpapi_test

import (
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/millrace/millrace/adapters/memory"
	"github.com/millrace/millrace/adapters/sqlite"
	"github.com/millrace/millrace/application"
)

type systemClock struct{}

func (systemClock) Now() time.Time { return time.Now() }

// openStores opens an empty store and queue, as the embedded mode has them.
func openStores(t *testing.T) (application.TaskRepository, application.Queue, application.Clock) {
	t.Helper()
	db, closeDB, err := sqlite.Open(filepath.Join(t.TempDir(), "test.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(closeDB)
	if err := sqlite.Migrate(t.Context(), db, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	return sqlite.NewTaskRepository(db), memory.NewQueue(), systemClock{}
}
