package e2e

import (
	"testing"

	"github.com/millrace/millrace/test/programs"
)

// Three deaths of one worker after the other, each with all its tasks: the third fails
// the one suspect that it held, and no other task.
func TestWorker_ThreeDeathsFailOneTaskOfTwenty(t *testing.T) {
	t.Parallel()
	d := deployAll(t, leaseEnv, "MAX_RESCUES=3", "RETRY_BASE=100ms")
	const tasks = 20
	d.batch(tasks, `{"message":"innocent"}`)
	attempts := func(attempt int) (n int) {
		var page struct {
			Tasks []task `json:"tasks"`
		}
		d.call("GET", "/tasks?status=processing&limit=200", "", 200, &page)
		for _, got := range page.Tasks {
			if got.Attempt >= attempt {
				n++
			}
		}
		return n
	}
	for death, held := range []int{tasks, tasks, 1} {
		worker := d.worker("HANDLER=sleep:1h")
		programs.Eventually(t, programs.Patience, "the worker holds what it may", func() bool { return attempts(death+1) == held })
		worker.Kill()
	}
	d.worker("HANDLER=noop:")
	programs.Eventually(t, programs.Patience, "all have ended", func() bool { return d.count("completed")+d.count("failed") == tasks })
	if n := d.count("failed"); n != 1 {
		t.Errorf("%d of %d tasks have failed, want one", n, tasks)
	}
}
