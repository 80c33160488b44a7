package e2e

import (
	"testing"

	"github.com/millrace/millrace/test/programs"
	"github.com/millrace/millrace/test/services"
)

// Concurrent requests share a transaction: one that is cut off in the middle takes
// many with it, and none of them may have been answered.
func TestAPI_KilledInTheMiddleOfABatchLosesNoAnsweredTask(t *testing.T) {
	t.Parallel()
	const kills, clients, more = 4, 64, 400
	database := services.PostgreSQL(t)
	db := open(t, database)
	d := deploy(t, database, services.Redis(t))
	l := startLoad("http://"+d.addr, clients)
	for range kills {
		enough := l.count() + more
		programs.Eventually(t, programs.Patience, "tasks are accepted", func() bool { return l.count() >= enough })
		d.api.Kill()
		d.api = d.program("api", "LISTEN_ADDR="+d.addr)
		d.ready()
	}
	close(l.stop)
	l.clients.Wait()

	var stored, largest int
	if err := db.QueryRow("SELECT sum(n), max(n) FROM (SELECT count(*) AS n FROM tasks GROUP BY xmin) AS together").Scan(&stored, &largest); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d tasks are stored, %d were answered; up to %d in one transaction", stored, l.count(), largest)
	if largest < 2 {
		t.Error("no two tasks were stored together: this has tested nothing")
	}
	// Each client has at most one task at each kill that it has heard nothing of.
	if unheard := stored - l.count(); unheard < 0 || unheard > kills*clients {
		t.Errorf("%d tasks were stored that no client has heard of", unheard)
	}
	d.worker()
	programs.Eventually(t, programs.Patience, "all are completed", func() bool {
		var left int
		err := db.QueryRow("SELECT count(*) FROM tasks WHERE status <> 'completed'").Scan(&left)
		return err == nil && left == 0
	})
	for _, id := range l.accepted {
		if got := d.get(id); got.Status != "completed" || got.Attempt != 1 {
			t.Errorf("accepted, and then: %+v", got)
		}
	}
}
