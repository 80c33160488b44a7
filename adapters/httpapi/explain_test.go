package httpapi

import (
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/adapters/httpapi/internal/api"
	"github.com/millrace/millrace/application/usecase"
)

// Each reason has a sentence of its own, with the figures that go with it.
func TestSentence_SaysEveryReasonInWords(t *testing.T) {
	at := time.Date(2026, 1, 15, 9, 30, 0, 0, time.FixedZone("", 3600))
	const stamp = "2026-01-15T08:30:00.000000Z"
	task := api.Explanation{Status: "failed", Queue: "mail"}
	seen := map[string]bool{}
	for _, c := range []struct {
		e    usecase.Explanation
		want []string
	}{
		{usecase.Explanation{Reason: usecase.ReasonEnded, At: at}, []string{"failed", stamp}},
		{usecase.Explanation{Reason: usecase.ReasonRunning, At: at}, []string{"until " + stamp}},
		{usecase.Explanation{Reason: usecase.ReasonScheduled, At: at}, []string{"scheduled for " + stamp}},
		{usecase.Explanation{Reason: usecase.ReasonRetry, At: at}, []string{"retried at " + stamp}},
		{usecase.Explanation{Reason: usecase.ReasonDue, At: at}, []string{"about to be queued"}},
		{usecase.Explanation{Reason: usecase.ReasonNoWorker}, []string{"No live worker", "mail"}},
		{usecase.Explanation{Reason: usecase.ReasonBusy, Slots: 10, Workers: 1}, []string{"All 10 slots of the 1 worker that takes this queue are in use."}},
		{
			usecase.Explanation{Reason: usecase.ReasonBusy, Slots: 8, Kept: 2, Workers: 1},
			[]string{"All 8 slots that this queue may use of the 1 worker that takes it are in use (kept for others: 2)."},
		},
		{usecase.Explanation{Reason: usecase.ReasonBusy, Slots: 30, Workers: 3}, []string{"All 30 slots of the 3 workers that take this queue are in use."}},
		{usecase.Explanation{Reason: usecase.ReasonQueueAway, Detail: "Redis is full"}, []string{"does not do its work: Redis is full."}},
		{usecase.Explanation{Reason: usecase.ReasonQueueAway, Detail: "Redis refuses: OOM."}, []string{"does not do its work: Redis refuses: OOM."}},
		{usecase.Explanation{Reason: usecase.ReasonStuck, Stuck: 7}, []string{"mail take no tasks", "7 handlers"}},
		{usecase.Explanation{Reason: usecase.ReasonStuck}, []string{"mail take no tasks", "too many handlers"}},
		{usecase.Explanation{Reason: usecase.ReasonRefused}, []string{"The store takes no tasks; they will run once it does."}},
		{usecase.Explanation{Reason: usecase.ReasonRefused, Detail: "it is read-only."}, []string{"The store takes no tasks: it is read-only."}},
		{usecase.Explanation{Reason: usecase.ReasonPaused}, []string{"mail is paused"}},
		{usecase.Explanation{Reason: usecase.ReasonLimit, Limit: "7"}, []string{"mail", "7"}},
		{usecase.Explanation{Reason: usecase.ReasonRate, Limit: "100/s", At: at}, []string{"mail", "100/s", stamp}},
		{usecase.Explanation{Reason: usecase.ReasonQueueAway}, []string{"is not responding", "once it is back"}},
		{usecase.Explanation{Reason: usecase.ReasonBehind, Ahead: 1}, []string{"1 task in the queue mail is ahead of it"}},
		{usecase.Explanation{Reason: usecase.ReasonBehind, Ahead: 2}, []string{"2 tasks in the queue mail are ahead of it"}},
		{usecase.Explanation{Reason: usecase.ReasonBehind, Ahead: usecase.MaxAhead}, []string{"At least 10000 tasks"}},
		{usecase.Explanation{Reason: usecase.ReasonStranded, At: at}, []string{"lost", "by " + stamp}},
		{usecase.Explanation{Reason: usecase.ReasonNext}, []string{"is next"}},
	} {
		text := sentence(task, c.e)
		for _, part := range c.want {
			if !strings.Contains(text, part) {
				t.Errorf("%s: %q does not say %q", c.e.Reason, text, part)
			}
		}
		if seen[text] || !strings.HasSuffix(text, ".") || strings.HasPrefix(text, "The reason is") {
			t.Errorf("%s: %q", c.e.Reason, text)
		}
		seen[text] = true
	}
}
