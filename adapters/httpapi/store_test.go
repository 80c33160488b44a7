package httpapi_test

import (
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/millrace/millrace/adapters/memory"
	"github.com/millrace/millrace/adapters/postgres"
	"github.com/millrace/millrace/adapters/redis"
	"github.com/millrace/millrace/adapters/sqlite"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/test/services"
)

type systemClock struct{}

func (systemClock) Now() time.Time { return time.Now() }

// stores are what a service keeps its tasks in and tells of them through.
type stores struct {
	tasks                  application.TaskRepository
	search                 application.TaskSearch
	queues                 application.QueueRepository
	bulks                  application.BulkRepository
	statistics             application.StatisticsRepository
	queue                  application.Queue
	signals                application.Signals
	clock                  application.Clock
	tasksProbe, queueProbe application.Probe
}

// openStores opens an empty store and queue, as the embedded mode has them.
func openStores(t *testing.T) stores {
	t.Helper()
	db, closeDB, err := sqlite.Open(filepath.Join(t.TempDir(), "test.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(closeDB)
	if err := sqlite.Migrate(t.Context(), db, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	return stores{
		tasks: sqlite.NewTaskRepository(db), search: sqlite.NewTaskSearch(db), queues: sqlite.NewQueueRepository(db),
		bulks: sqlite.NewBulkRepository(db), statistics: sqlite.NewStatisticsRepository(db), queue: memory.NewQueue(), signals: memory.NewSignals(),
		clock: systemClock{}, tasksProbe: db,
	}
}

// openServers opens an empty database and queue, as the server mode has them.
func openServers(t *testing.T) stores {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	db, closeDB, err := postgres.Open(postgres.Config{URL: services.PostgreSQL(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(closeDB)
	if err := postgres.Migrate(t.Context(), db, log); err != nil {
		t.Fatal(err)
	}
	pool, closePool, err := redis.Open(redis.Config{URL: services.Redis(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(closePool)
	signals, closeSignals := redis.NewSignals(pool, log)
	t.Cleanup(closeSignals)
	return stores{
		tasks: postgres.NewTaskRepository(db), search: postgres.NewTaskSearch(db), queues: postgres.NewQueueRepository(db),
		bulks: postgres.NewBulkRepository(db), statistics: postgres.NewStatisticsRepository(db), queue: redis.NewQueue(pool, log), signals: signals,
		clock: systemClock{}, tasksProbe: db, queueProbe: pool,
	}
}
