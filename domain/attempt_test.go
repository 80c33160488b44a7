package domain_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/domain"
)

func TestTask_KeepsTheResultOfItsHandlerBoundedAndFitToBeStored(t *testing.T) {
	const limit = 64 << 10
	if domain.MaxResult != limit {
		t.Fatalf("the API promises %d bytes, not %d", limit, domain.MaxResult)
	}
	full := strings.Repeat("x", limit)
	for name, c := range map[string]struct {
		result, want       string
		truncated, altered bool
	}{
		"none":                       {"", "", false, false},
		"text":                       {"¡Hola! 🌍\n", "¡Hola! 🌍\n", false, false},
		"as long as it may":          {full, full, false, false},
		"one too long":               {full + "x", full, true, false},
		"a rune that ends it":        {full[2:] + "é", full[2:] + "é", false, false},
		"two bytes at the cut":       {full[1:] + "é", full[1:], true, false},
		"three bytes at the cut":     {full[2:] + "€", full[2:], true, false},
		"four bytes at the cut":      {full[3:] + "🌍", full[3:], true, false},
		"a rune just after the cut":  {full + "é", full, true, false},
		"wide runes":                 {strings.Repeat("🌍", limit), strings.Repeat("🌍", limit/4), true, false},
		"not UTF-8":                  {"a\xff\xfeb", "a\uFFFDb", false, true},
		"the rest of a rune":         {"\x8d", "\uFFFD", false, true},
		"half a rune at its end":     {"a\xf0\x9f", "a\uFFFD", false, true},
		"U+FFFD":                     {"a\uFFFDb", "a\uFFFDb", false, false},
		"NUL":                        {"a\x00b", "a\uFFFDb", false, true},
		"NULs that outgrow it":       {strings.Repeat("\x00", limit), strings.Repeat("\uFFFD", limit/3), true, true},
		"a NUL that outgrows it":     {"\x00" + full[1:], "\uFFFD" + full[3:], true, true},
		"not UTF-8 where it is cut":  {full[1:] + "\xff\xff", full[1:], true, false},
		"continuations at the cut":   {full[8:] + strings.Repeat("\x80", 16), full[8:] + "\uFFFD", true, true},
		"a long text of no encoding": {strings.Repeat("\xff", 2*limit), "\uFFFD", true, true},
	} {
		task := taskIn(t, domain.StatusProcessing)
		must(t, task.Complete(1, c.result, at(1)))
		got := task.State()
		if got.Result != c.want || got.ResultTruncated != c.truncated || got.ResultAltered != c.altered {
			t.Errorf("%s: kept %d bytes %.20q, truncated %v, altered %v; want %d bytes %.20q, %v, %v", name,
				len(got.Result), got.Result, got.ResultTruncated, got.ResultAltered, len(c.want), c.want, c.truncated, c.altered)
		}
		if !utf8.ValidString(got.Result) || len(got.Result) > limit {
			t.Errorf("%s: %d bytes, valid %v", name, len(got.Result), utf8.ValidString(got.Result))
		}
	}
}

func TestTask_RecordsHowEachAttemptEndedThatHadNoSuccess(t *testing.T) {
	long := strings.Repeat("x", 5000)
	for name, c := range map[string]struct {
		giveBack func(*domain.Task) error
		outcome  domain.AttemptOutcome
		reason   string
	}{
		"Fail": {func(t *domain.Task) error { return t.Fail(1, broken, policy, 0, at(2)) }, domain.OutcomeFailed, "broken"},
		"Fail for good": {func(t *domain.Task) error {
			return t.Fail(1, domain.Failure{Reason: "no", Permanent: true}, policy, 0, at(2))
		}, domain.OutcomeFailed, "no"},
		"a long reason": {func(t *domain.Task) error { return t.Fail(1, domain.Failure{Reason: long}, policy, 0, at(2)) }, domain.OutcomeFailed, long[:4096]},
		"Release":       {func(t *domain.Task) error { return t.Release(1, at(2)) }, domain.OutcomeReleased, ""},
		"Rescue":        {func(t *domain.Task) error { return t.Rescue(policy, at(2)) }, domain.OutcomeLost, "the worker was lost while it processed the task"},
		"GiveUp":        {func(t *domain.Task) error { return t.GiveUp(1, policy, at(2)) }, domain.OutcomeLost, "the outcome of the attempt could not be stored"},
		"the last Rescue": {func(t *domain.Task) error { return t.Rescue(domain.RetryPolicy{MaxRescues: 1}, at(2)) },
			domain.OutcomeLost, "the worker was lost while it processed the task"},
	} {
		for _, stop := range []bool{false, true} {
			task := newTask(t, 3)
			must(t, task.Claim(claim, at(1)))
			if stop {
				must(t, task.RequestStop(at(1)))
				c.outcome = domain.OutcomeStopped
			}
			must(t, c.giveBack(task))
			want := []domain.Attempt{{Number: 1, Worker: "w", StartedAt: at(1), EndedAt: at(2), Outcome: c.outcome, Error: c.reason}}
			if diff := cmp.Diff(want, task.EndedAttempts()); diff != "" {
				t.Errorf("%s, asked to stop %v (-want +got):\n%s", name, stop, diff)
			}
		}
	}
}

func TestTask_RecordsNothingOfWhatGivesNoTaskBack(t *testing.T) {
	task := newTask(t, 3)
	must(t, task.Claim(claim, at(1)), task.RequestStop(at(1)))
	if err := task.Fail(2, broken, policy, 0, at(2)); err == nil {
		t.Error("an attempt that does not hold the task has failed it")
	}
	must(t, task.Complete(1, "done", at(2)))
	if got := task.EndedAttempts(); len(got) > 0 {
		t.Errorf("recorded %+v", got)
	}
	task = taskIn(t, domain.StatusPending)
	must(t, task.Cancel(at(1)))
	if got := task.EndedAttempts(); len(got) > 0 {
		t.Errorf("a task that was never claimed has recorded %+v", got)
	}
}

func TestTask_KeepsItsRecordsUntilTheyAreStored(t *testing.T) {
	task := taskIn(t, domain.StatusProcessing)
	must(t, task.Release(1, at(1)), task.MarkQueued(at(1)), task.Claim(claim, at(2)), task.Rescue(policy, at(3)))
	var numbers []int
	for _, a := range task.EndedAttempts() {
		numbers = append(numbers, a.Number)
	}
	if !slices.Equal(numbers, []int{1, 2}) {
		t.Errorf("recorded the attempts %v, want 1 and 2", numbers)
	}
	if task.MarkStored(); len(task.EndedAttempts()) > 0 {
		t.Errorf("after the save there are still %+v to be stored", task.EndedAttempts())
	}
	must(t, task.MarkQueued(at(4)), task.Claim(claim, at(4)), task.Release(3, at(5)))
	if got := task.EndedAttempts(); len(got) != 1 || got[0].Number != 3 {
		t.Errorf("recorded %+v, want the third", got)
	}
	loaded, err := domain.Restore(task.State())
	must(t, err)
	if got := loaded.EndedAttempts(); len(got) > 0 {
		t.Errorf("a task that was loaded has %+v to be stored", got)
	}
}

func TestTask_ACloneIsATaskOfItsOwn(t *testing.T) {
	task := taskIn(t, domain.StatusProcessing)
	for i := range 3 { // so that there is room for a fourth record where these are
		must(t, task.Release(i+1, at(1)), task.MarkQueued(at(1)), task.Claim(claim, at(1)))
	}
	state, records, stored := task.State(), slices.Clone(task.EndedAttempts()), task.StoredVersion()
	a, b := task.Clone(), task.Clone()
	must(t, a.Release(4, at(2)), b.Fail(4, broken, policy, 0, at(3)))
	a.EndedAttempts()[0].Number = 99
	if got := b.EndedAttempts(); len(got) != 4 || got[0].Number != 1 || got[3].Outcome != domain.OutcomeFailed {
		t.Errorf("a clone sees what became of another: %+v", got)
	}
	if got := a.EndedAttempts(); got[3].Outcome != domain.OutcomeReleased {
		t.Errorf("a clone sees what became of another: %+v", got)
	}
	b.MarkStored()
	if !reflect.DeepEqual(task.State(), state) || !slices.Equal(task.EndedAttempts(), records) || task.StoredVersion() != stored {
		t.Errorf("changes of its clones reach the task: %+v, %+v", task.State(), task.EndedAttempts())
	}
}

func TestTask_TellsOfItsLatestAttemptWhileItRunsAndWhenItHasCompletedTheTask(t *testing.T) {
	running := domain.Attempt{Number: 1, Worker: "w", StartedAt: start, Outcome: domain.OutcomeRunning}
	done := domain.Attempt{Number: 1, Worker: "w", StartedAt: start, EndedAt: at(5), Outcome: domain.OutcomeCompleted}
	asked, completed := taskIn(t, domain.StatusProcessing), taskIn(t, domain.StatusProcessing)
	must(t, asked.RequestStop(at(1)), completed.RequestStop(at(1)), completed.Complete(1, "done", at(5)))
	for name, c := range map[string]struct {
		task *domain.Task
		want domain.Attempt
	}{
		"running": {taskIn(t, domain.StatusProcessing), running}, "asked to stop": {asked, running}, "completed": {completed, done},
	} {
		if got, ok := c.task.LatestAttempt(); !ok || got != c.want {
			t.Errorf("%s: %+v, %v; want %+v", name, got, ok, c.want)
		}
	}
	stopped := taskIn(t, domain.StatusProcessing)
	must(t, stopped.RequestStop(at(1)), stopped.Release(1, at(2)))
	released := taskIn(t, domain.StatusProcessing)
	must(t, released.Release(1, at(2)))
	for _, task := range []*domain.Task{
		taskIn(t, domain.StatusPending), taskIn(t, domain.StatusCanceled), taskIn(t, domain.StatusFailed), stopped, released,
	} {
		if got, ok := task.LatestAttempt(); ok || got != (domain.Attempt{}) {
			t.Errorf("a %s task tells of %+v, %v", task.Status(), got, ok)
		}
	}
}

func TestTask_StartedAtIsTheTimeOfTheLatestClaim(t *testing.T) {
	task := newTask(t, 3)
	if !task.State().StartedAt.IsZero() {
		t.Errorf("started at %s before the first claim", task.State().StartedAt)
	}
	for i := range 3 {
		now := at(float64(i + 1))
		must(t, task.Claim(claim, now.Add(time.Nanosecond)), task.Release(i+1, at(10)))
		if got := task.State().StartedAt; i == 0 && !got.Equal(now) {
			t.Errorf("started at %s, want %s", got, now)
		}
		must(t, task.MarkQueued(at(10)))
	}
	if got := task.State().StartedAt; !got.Equal(at(10)) { // a clock that steps back moves nothing back
		t.Errorf("started at %s, want %s", got, at(10))
	}
}

func TestTask_FinishedAtIsWhenItEnded(t *testing.T) {
	for _, status := range []domain.Status{"completed", "canceled", "failed"} {
		if at, ok := taskIn(t, status).FinishedAt(); !ok || !at.Equal(start) {
			t.Errorf("a %s task finished at %s, %v", status, at, ok)
		}
	}
	for _, status := range []domain.Status{"pending", "processing"} {
		if _, ok := taskIn(t, status).FinishedAt(); ok {
			t.Errorf("a %s task has finished", status)
		}
	}
}
