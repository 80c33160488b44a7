package e2e

import (
	"database/sql"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/test/programs"
	"github.com/millrace/millrace/test/services"
)

// trigger lets the database raise the SQLSTATE, for as long as the trigger is there,
// when a task is stored for which the condition holds.
func trigger(t *testing.T, db *sql.DB, condition, state string) (remove func()) {
	t.Helper()
	run := func(statement string) {
		t.Helper()
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	run(`CREATE FUNCTION operators() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		IF ` + condition + ` THEN RAISE EXCEPTION 'not today' USING ERRCODE = '` + state + `'; END IF;
		RETURN NEW; END $$`)
	run("CREATE TRIGGER operators BEFORE UPDATE ON tasks FOR EACH ROW EXECUTE FUNCTION operators()")
	return func() { run("DROP TRIGGER operators ON tasks") }
}

func TestOutcome_IsKeptWhileTheDatabaseAllowsNothing(t *testing.T) {
	t.Parallel()
	database := services.PostgreSQL(t)
	d := deploy(t, database, services.Redis(t), leaseEnv)
	remove := trigger(t, open(t, database), "OLD.status = 'processing' AND NEW.status <> 'processing'", "42501") // no right
	var ids []string
	for range 20 {
		ids = append(ids, d.submit("done, but not stored").ID)
	}
	worker := d.worker("HANDLER=noop:", "WORKER_QUEUE_MAXSIZE=20")
	programs.Eventually(t, programs.Patience, "all are claimed", func() bool { return d.count("processing") == len(ids) })
	time.Sleep(12 * time.Second) // two leases
	remove()
	for _, id := range ids {
		if got := d.becomes(id, "completed"); got.Attempt != 1 {
			t.Errorf("completed by attempt %d", got.Attempt)
		}
	}
	if n := strings.Count(worker.Output(), "not today"); n > 3 {
		t.Errorf("the log says %d times that outcomes cannot be stored", n)
	}
}

func TestOutcome_ThatTheDatabaseRefusesFailsItsTask(t *testing.T) {
	t.Parallel()
	database := services.PostgreSQL(t)
	d := deploy(t, database, services.Redis(t))
	trigger(t, open(t, database), "NEW.status = 'completed' AND NEW.message = 'bad'", "23514") // a CHECK
	bad, good := d.submit("bad"), d.submit("good")
	d.worker("HANDLER=noop:")
	d.becomes(good.ID, "completed")
	got := d.becomes(bad.ID, "failed")
	if got.Attempt != 1 || !strings.HasPrefix(got.LastError, "the store refused the outcome: ") || !strings.Contains(got.LastError, "not today") {
		t.Errorf("attempt %d, last error %q", got.Attempt, got.LastError)
	}
}

func TestOutcome_ThatCannotBeStoredAtAllIsCharged(t *testing.T) {
	t.Parallel()
	database := services.PostgreSQL(t)
	d := deploy(t, database, services.Redis(t), leaseEnv, "MAX_RESCUES=3")
	remove := trigger(t, open(t, database), "NEW.status IN ('completed', 'failed')", "23514")
	bad := d.submit("neither success nor failure can be stored")
	d.worker("HANDLER=noop:")
	programs.Eventually(t, programs.Patience, "all rescues but the last are charged", func() bool { return d.get(bad.ID).Attempt == 3 })
	time.Sleep(8 * time.Second)
	if got := d.get(bad.ID); got.Attempt != 3 || got.Status != "processing" {
		t.Errorf("%s in attempt %d, though a third rescue could not be stored", got.Status, got.Attempt)
	}
	remove()
	if got := d.becomes(bad.ID, "failed"); got.Attempt != 3 || got.LastError != "the outcome of the attempt could not be stored" {
		t.Errorf("in attempt %d failed with %q", got.Attempt, got.LastError)
	}
}

func TestQueues_OneWhoseHandlersHangHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	d := deployAll(t)
	d.batch(50, `{"message":"hangs","queue":"hung"}`)
	d.worker("QUEUES=hung,mail", "HANDLER=noop:", "HANDLERS=hung=sleep:1h", "WORKER_QUEUE_MAXSIZE=5")
	programs.Eventually(t, programs.Patience, "the queue that hangs has all slots but one", func() bool { return d.count("processing") == 4 })
	for n := 1; n <= 3; n++ {
		d.batch(10, `{"message":"quick","queue":"mail"}`)
		programs.Eventually(t, programs.Patience, "the other queue is empty", func() bool { return d.count("completed") == 10*n })
	}
}
