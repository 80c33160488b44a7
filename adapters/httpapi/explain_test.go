package httpapi

import (
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/adapters/httpapi/internal/api"
	"github.com/millrace/millrace/application"
)

// Each reason has a sentence of its own, with the figures that go with it.
func TestSentence_SaysEveryReasonInWords(t *testing.T) {
	at := time.Date(2026, 1, 15, 9, 30, 0, 0, time.FixedZone("", 3600))
	const stamp = "2026-01-15T08:30:00.000000Z"
	task := api.Explanation{Status: "failed", Queue: "mail"}
	seen := map[string]bool{}
	for _, c := range []struct {
		e    application.Explanation
		want []string
	}{
		{application.Explanation{Reason: application.ReasonEnded, At: at}, []string{"failed", stamp}},
		{application.Explanation{Reason: application.ReasonRunning, At: at}, []string{"until " + stamp}},
		{application.Explanation{Reason: application.ReasonScheduled, At: at}, []string{"not to run before " + stamp}},
		{application.Explanation{Reason: application.ReasonRetry, At: at}, []string{"again at " + stamp}},
		{application.Explanation{Reason: application.ReasonDue, At: at}, []string{"about to be queued"}},
		{application.Explanation{Reason: application.ReasonNoWorker}, []string{"No live worker", "mail"}},
		{application.Explanation{Reason: application.ReasonPaused}, []string{"mail is paused"}},
		{application.Explanation{Reason: application.ReasonLimit, Limit: "7"}, []string{"mail", "7"}},
		{application.Explanation{Reason: application.ReasonRate, Limit: "100/s", At: at}, []string{"mail", "100/s", stamp}},
		{application.Explanation{Reason: application.ReasonQueueAway}, []string{"does not answer", "once it is back"}},
		{application.Explanation{Reason: application.ReasonBehind, Ahead: 1}, []string{"1 task of the queue mail is before it"}},
		{application.Explanation{Reason: application.ReasonBehind, Ahead: 2}, []string{"2 tasks of the queue mail are before it"}},
		{application.Explanation{Reason: application.ReasonBehind, Ahead: application.MaxAhead}, []string{"At least 10000 tasks"}},
		{application.Explanation{Reason: application.ReasonStranded, At: at}, []string{"lost", "by " + stamp}},
		{application.Explanation{Reason: application.ReasonNext}, []string{"Nothing is in the way"}},
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
