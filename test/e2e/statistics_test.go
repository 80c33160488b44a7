package e2e

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/test/programs"
)

// statistics are the counts of a queue in the last hour.
func (d *deployment) statistics(queue string) map[string]int {
	d.t.Helper()
	var series struct {
		Points []map[string]json.RawMessage `json:"points"`
	}
	d.call(http.MethodGet, "/stats?queue="+queue, "", http.StatusOK, &series)
	sums := map[string]int{}
	for _, point := range series.Points {
		for name, text := range point {
			var n int
			if json.Unmarshal(text, &n) == nil && n > 0 { // the others are the time and percentiles
				sums[name] += n
			}
		}
	}
	return sums
}

// submitTried submits a task to a queue, which is tried twice at most.
func (d *deployment) submitTried(queue string) string {
	d.t.Helper()
	var got task
	d.call(http.MethodPost, "/tasks", `{"message":"m","queue":"`+queue+`","max_attempts":2}`, http.StatusCreated, &got)
	return got.ID
}

func TestService_CountsWhatHappenedExactly(t *testing.T) {
	t.Parallel()
	d := deployAll(t)
	w := d.worker("QUEUES=good,bad", "HANDLERS=good=noop:\nbad=exec:sh -c \"exit 1\"", "RETRY_BASE=100ms")
	for range 3 {
		d.becomes(d.submitTried("good"), "completed")
	}
	d.becomes(d.submitTried("bad"), "failed")
	d.submitTried("idle")
	canceled := d.submitTried("idle")
	for range 2 { // the second finds it canceled
		d.call(http.MethodPatch, "/tasks/"+canceled, `{"status":"canceled"}`, http.StatusOK, nil)
	}
	w.Stop() // it stores what it has counted

	// What the API has counted is stored within ten seconds.
	want := map[string]map[string]int{
		"good": {"submitted": 3, "started": 3, "completed": 3},
		"bad":  {"submitted": 1, "started": 2, "failed_attempts": 2, "failed": 1},
		"idle": {"submitted": 2, "canceled": 1},
		"":     {"submitted": 6, "started": 5, "completed": 3, "failed_attempts": 2, "failed": 1, "canceled": 1},
	}
	for queue, counts := range want {
		programs.Eventually(t, programs.Patience, "the statistics of "+queue+" are stored", func() bool {
			return d.statistics(queue)["submitted"] == counts["submitted"]
		})
		if diff := cmp.Diff(counts, d.statistics(queue)); diff != "" {
			t.Errorf("queue %q (-want +got):\n%s", queue, diff)
		}
	}
}

// What a process that was killed had not stored is not counted; what its successor takes
// from it is.
func TestMillrace_CountsWhatItRescuesAtItsStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := embed(t, dir, "HANDLER=sleep:1h", "MAX_RESCUES=1")
	id := first.submit("m").ID
	first.becomes(id, "processing")
	first.api.Kill()

	second := embed(t, dir, "HANDLER=sleep:1h", "MAX_RESCUES=1") // to lose one worker is enough
	if got := second.get(id); got.Status != "failed" {
		t.Errorf("rescued, it is %s, want failed", got.Status)
	}
	second.api.Stop() // it stores what it has counted

	third := embed(t, dir)
	got := third.statistics("default")
	if got["rescued"] != 1 || got["failed"] != 1 || got["failed_attempts"] != 0 {
		t.Errorf("counted: %v, want one attempt that was rescued, and its task as failed", got)
	}
	third.api.Stop()
}
