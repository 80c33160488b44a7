package e2e

import (
	"net/http"
	"testing"

	"github.com/millrace/millrace/test/programs"
	"github.com/millrace/millrace/test/services"
)

func TestBulk_GoesOnAfterTheWorkerThatDoesItIsKilled(t *testing.T) {
	t.Parallel()
	const tasks = 5000
	d := deploy(t, services.PostgreSQL(t), services.Redis(t))
	d.batch(tasks, `{"message":"too many","queue":"bulk"}`)
	d.batch(50, `{"message":"is kept"}`)
	var count struct {
		Matched int
		Exact   bool
	}
	const what = `"action":"cancel","filter":{"queue":["bulk"]}`
	d.call(http.MethodPost, "/tasks/bulk", `{`+what+`,"dry_run":true}`, http.StatusOK, &count)
	if count.Matched != tasks || !count.Exact {
		t.Errorf("the dry run says %+v", count)
	}
	type progress struct {
		ID      string
		Status  string
		Changed int
		Skipped int
	}
	var bulk progress
	d.call(http.MethodPost, "/tasks/bulk", `{`+what+`}`, http.StatusAccepted, &bulk)
	read := func() (now progress) {
		d.call(http.MethodGet, "/bulk/"+bulk.ID, "", http.StatusOK, &now)
		return now
	}
	first := d.worker("QUEUES=another")
	programs.Eventually(t, programs.Patience, "it has begun", func() bool { return read().Changed > 0 })
	first.Kill()
	d.worker("QUEUES=another")
	programs.Eventually(t, programs.Patience, "it is done", func() bool { return read().Status == "done" })
	if got := read(); got.Changed != tasks || got.Skipped != 0 {
		t.Errorf("%+v, of %d tasks", got, tasks)
	}
	if canceled, kept := d.count("canceled"), d.count("pending"); canceled != tasks || kept != 50 {
		t.Errorf("%d canceled, %d kept", canceled, kept)
	}
}
