package domain_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/domain"
)

var (
	start  = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	policy = domain.RetryPolicy{Base: time.Second, Cap: time.Minute, MaxRescues: 3}
	claim  = domain.Claim{Worker: "w", Beat: 7, Timeout: time.Minute}
	broken = domain.Failure{Reason: "broken"}
)

// at is the time so many seconds after the start.
func at(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }

// must fails the test if an error is not nil.
func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func newTask(t *testing.T, maxAttempts int) *domain.Task {
	t.Helper()
	task, err := domain.NewTask(domain.TaskSpec{Message: "Hello World", MaxAttempts: new(maxAttempts)}, start)
	must(t, err)
	return task
}

// taskIn makes a task of the status by the shortest way, all of it at the start.
func taskIn(t *testing.T, status domain.Status) *domain.Task {
	t.Helper()
	task := newTask(t, 3)
	switch status {
	case domain.StatusProcessing:
		must(t, task.Claim(claim, start))
	case domain.StatusCompleted:
		must(t, task.Claim(claim, start), task.Complete(1, "done", start))
	case domain.StatusCanceled:
		must(t, task.Cancel(start))
	case domain.StatusFailed:
		must(t, task.Claim(claim, start), task.Fail(1, domain.Failure{Permanent: true}, policy, 0, start))
	}
	if task.Status() != status {
		t.Fatalf("the task is %s, want %s", task.Status(), status)
	}
	return task
}

func TestNewTask_IsPendingAndQueuedFromBirth(t *testing.T) {
	now := at(0.123456789).In(time.FixedZone("", 3600))
	task, err := domain.NewTask(domain.TaskSpec{Message: "¡Hola! 🌍", MaxAttempts: new(4)}, now)
	must(t, err)
	want := at(0.123456)
	if diff := cmp.Diff(domain.TaskState{
		ID: task.ID(), Message: "¡Hola! 🌍", Queue: domain.DefaultQueue, Status: domain.StatusPending, MaxAttempts: 4, Version: 1,
		CreatedAt: want, UpdatedAt: want, RunAt: want, QueuedAt: want,
	}, task.State()); diff != "" {
		t.Errorf("state (-want +got):\n%s", diff)
	}
	if task.StoredVersion() != 0 || (task.ID() == domain.TaskID{}) {
		t.Errorf("stored version %d, id %s", task.StoredVersion(), task.ID())
	}
}

func TestNewTask_Refuses(t *testing.T) {
	for name, c := range map[string]struct {
		spec  domain.TaskSpec
		field string
	}{
		"no message":         {domain.TaskSpec{MaxAttempts: new(1)}, "message"},
		"a NUL":              {domain.TaskSpec{Message: "a\x00b", MaxAttempts: new(1)}, "message"},
		"bytes not UTF-8":    {domain.TaskSpec{Message: "a\xff", MaxAttempts: new(1)}, "message"},
		"half a surrogate":   {domain.TaskSpec{Message: "\xed\xa0\x80", MaxAttempts: new(1)}, "message"},
		"no attempts":        {domain.TaskSpec{Message: "a"}, "max_attempts"},
		"attempts below one": {domain.TaskSpec{Message: "a", MaxAttempts: new(-1)}, "max_attempts"},
	} {
		task, err := domain.NewTask(c.spec, start)
		if task != nil {
			t.Errorf("%s: a task was made", name)
		}
		wantInvalid(t, err, c.field)
	}
}

// Every method on every status: where it leads, or "" where it is refused.
func TestTask_EveryMethodOnEveryStatus(t *testing.T) {
	type row = [5]domain.Status // on pending, processing, completed, canceled, failed
	for name, c := range map[string]struct {
		call func(*domain.Task) error
		want row
	}{
		"Claim":           {func(t *domain.Task) error { return t.Claim(claim, at(1)) }, row{"processing", "", "", "", ""}},
		"Complete":        {func(t *domain.Task) error { return t.Complete(1, "done", at(1)) }, row{"", "completed", "", "", ""}},
		"Fail":            {func(t *domain.Task) error { return t.Fail(1, broken, policy, 0, at(1)) }, row{"", "pending", "", "", ""}},
		"Fail for good":   {func(t *domain.Task) error { return t.Fail(1, domain.Failure{Permanent: true}, policy, 0, at(1)) }, row{"", "failed", "", "", ""}},
		"Release":         {func(t *domain.Task) error { return t.Release(1, at(1)) }, row{"", "pending", "", "", ""}},
		"Rescue":          {func(t *domain.Task) error { return t.Rescue(policy, at(1)) }, row{"", "pending", "", "", ""}},
		"Defer":           {func(t *domain.Task) error { return t.Defer(1, policy, 0.5, at(1)) }, row{"", "pending", "", "", ""}},
		"GiveUp":          {func(t *domain.Task) error { return t.GiveUp(1, policy, at(1)) }, row{"", "pending", "", "", ""}},
		"the last GiveUp": {func(t *domain.Task) error { return t.GiveUp(1, domain.RetryPolicy{MaxRescues: 1}, at(1)) }, row{"", "failed", "", "", ""}},
		"the last Rescue": {func(t *domain.Task) error { return t.Rescue(domain.RetryPolicy{MaxRescues: 1}, at(1)) }, row{"", "failed", "", "", ""}},
		"Cancel":          {func(t *domain.Task) error { return t.Cancel(at(1)) }, row{"canceled", "", "", "canceled", ""}},
		"RequestStop":     {func(t *domain.Task) error { return t.RequestStop(at(1)) }, row{"canceled", "processing", "", "canceled", ""}},
		"Reopen":          {func(t *domain.Task) error { return t.Reopen(at(1)) }, row{"", "", "", "", "pending"}},
		"MarkQueued":      {func(t *domain.Task) error { return t.MarkQueued(at(1)) }, row{"pending", "", "", "", ""}},
	} {
		for i, from := range statuses {
			task := taskIn(t, from)
			before := task.State()
			err := c.call(task)
			switch want := c.want[i]; {
			case want == "":
				wantCode(t, err, domain.CodeConflict)
				if !reflect.DeepEqual(task.State(), before) {
					t.Errorf("%s of a %s task is refused and changed it", name, from)
				}
			case err != nil || task.Status() != want:
				t.Errorf("%s of a %s task: %s, %v; want %s", name, from, task.Status(), err, want)
			}
		}
	}
}

func TestTask_ConflictNamesTheStatus(t *testing.T) {
	for _, status := range []domain.Status{"processing", "completed", "failed"} {
		if err := taskIn(t, status).Cancel(at(1)); err == nil || !strings.Contains(err.Error(), string(status)) {
			t.Errorf("cancel of a %s task says %q", status, err)
		}
	}
}

func TestTask_ClaimMakesItTheWorkers(t *testing.T) {
	task := newTask(t, 3)
	must(t, task.Claim(domain.Claim{Worker: "w1", Beat: 42, Timeout: 90*time.Second + 1}, at(1)))
	got := task.State()
	if got.Worker != "w1" || got.ClaimBeat != 42 || got.Attempt != 1 || !got.QueuedAt.IsZero() {
		t.Errorf("state after the claim: %+v", got)
	}
	if want := at(91); !got.Deadline.Equal(want) {
		t.Errorf("deadline %s, want %s: no store keeps more than microseconds", got.Deadline, want)
	}
}

func TestTask_ClaimMustNameAWorker(t *testing.T) {
	task := newTask(t, 3)
	before := task.State()
	wantCode(t, task.Claim(domain.Claim{Timeout: time.Minute}, at(1)), domain.CodeInternal)
	if !reflect.DeepEqual(task.State(), before) {
		t.Error("the refused claim changed the task")
	}
}

func TestTask_OneThatIsNotMarkedCannotBeClaimed(t *testing.T) {
	task := taskIn(t, domain.StatusProcessing)
	must(t, task.Release(1, at(1)))
	wantCode(t, task.Claim(claim, at(2)), domain.CodeConflict)
	must(t, task.MarkQueued(at(2)), task.Claim(claim, at(3)))
	if task.Attempt() != 2 {
		t.Errorf("attempt %d, want 2", task.Attempt())
	}
}

func TestTask_AnEarlierAttemptIsFencedOff(t *testing.T) {
	task := taskIn(t, domain.StatusProcessing)
	must(t, task.Rescue(policy, at(1)), task.MarkQueued(at(1)), task.Claim(claim, at(2)))
	before := task.State()
	for _, attempt := range []int{0, 1, 3} { // 2 holds the task
		for name, err := range map[string]error{
			"Complete": task.Complete(attempt, "done", at(3)),
			"Fail":     task.Fail(attempt, broken, policy, 0, at(3)),
			"Release":  task.Release(attempt, at(3)),
		} {
			if !errors.Is(err, domain.ErrAttemptLost) {
				t.Errorf("%s by attempt %d: %v, want ErrAttemptLost", name, attempt, err)
			}
		}
	}
	if !reflect.DeepEqual(task.State(), before) {
		t.Error("a fenced attempt changed the task")
	}
}

func TestTask_FailRetriesAfterABackoffUntilItsAttemptsAreSpent(t *testing.T) {
	task := newTask(t, 3)
	for i, wait := range []time.Duration{500 * time.Millisecond, time.Second} {
		now := at(float64(10 * (i + 1)))
		must(t, task.MarkQueued(now), task.Claim(claim, now), task.Fail(i+1, broken, policy, 0.5, now))
		got := task.State()
		if got.Status != domain.StatusPending || got.Failures != i+1 || !got.RunAt.Equal(now.Add(wait)) || got.LastError != "broken" {
			t.Fatalf("after failure %d: %+v", i+1, got)
		}
		if err := task.MarkQueued(now.Add(wait - time.Microsecond)); err == nil {
			t.Errorf("failure %d: queued before its time", i+1)
		}
	}
	must(t, task.MarkQueued(at(30)), task.Claim(claim, at(30)), task.Fail(3, domain.Failure{Reason: "at last"}, policy, 0.5, at(30)))
	if got := task.State(); got.Status != domain.StatusFailed || got.Failures != 3 || got.LastError != "at last" {
		t.Errorf("after the last failure: %+v", got)
	}
}

func TestTask_FailWaitsAsLongAsTheHandlerWishes(t *testing.T) {
	task := taskIn(t, domain.StatusProcessing)
	must(t, task.Fail(1, domain.Failure{RetryAfter: time.Hour + 1}, policy, 0.5, at(1)))
	if got, want := task.State().RunAt, at(3601); !got.Equal(want) {
		t.Errorf("to run at %s, want %s", got, want)
	}
}

func TestTask_InterruptionsCostNoRetry(t *testing.T) {
	task := newTask(t, 1)
	for i := range 10 {
		must(t, task.MarkQueued(at(1)), task.Claim(claim, at(1)), task.Release(i+1, at(1)))
	}
	must(t, task.MarkQueued(at(1)), task.Claim(claim, at(1)), task.Rescue(policy, at(2)))
	if got := task.State(); !got.RunAt.Equal(at(2)) || got.Status != domain.StatusPending || got.Failures != 0 || got.Rescues != 1 || got.Attempt != 11 {
		t.Errorf("state: %+v", got)
	}
}

func TestTask_ThatKillsItsWorkersFails(t *testing.T) {
	task := newTask(t, 100)
	for i := range policy.MaxRescues {
		if task.Status() != domain.StatusPending {
			t.Fatalf("%s after %d rescues of %d", task.Status(), i, policy.MaxRescues)
		}
		must(t, task.MarkQueued(at(1)), task.Claim(claim, at(1)), task.Rescue(policy, at(1)))
	}
	if got := task.State(); got.Status != domain.StatusFailed || got.Rescues != 3 || got.Failures != 0 || got.LastError == "" {
		t.Errorf("state: %+v", got)
	}
}

func TestTask_WhateverGivesBackAStoppedTaskCancelsIt(t *testing.T) {
	for name, giveBack := range map[string]func(*domain.Task) error{
		"release":           func(t *domain.Task) error { return t.Release(1, at(2)) },
		"failure":           func(t *domain.Task) error { return t.Fail(1, broken, policy, 0, at(2)) },
		"permanent failure": func(t *domain.Task) error { return t.Fail(1, domain.Failure{Permanent: true}, policy, 0, at(2)) },
		"deferral":          func(t *domain.Task) error { return t.Defer(1, policy, 0.5, at(2)) },
		"give up":           func(t *domain.Task) error { return t.GiveUp(1, domain.RetryPolicy{MaxRescues: 1}, at(2)) },
		"rescue":            func(t *domain.Task) error { return t.Rescue(domain.RetryPolicy{MaxRescues: 1}, at(2)) },
	} {
		task := taskIn(t, domain.StatusProcessing)
		must(t, task.RequestStop(at(1)), giveBack(task))
		if got := task.State(); got.Status != domain.StatusCanceled || got.Failures+got.Rescues != 0 || got.LastError != "" {
			t.Errorf("%s of a task that was asked to stop: %+v", name, got)
		}
	}
	task := taskIn(t, domain.StatusProcessing)
	must(t, task.RequestStop(at(1)), task.Complete(1, "done", at(2)))
	if task.Status() != domain.StatusCompleted {
		t.Errorf("a handler that finished first left the task %s", task.Status())
	}
}

func TestTask_ARepeatedRequestChangesNothing(t *testing.T) {
	for name, request := range map[string]func(*domain.Task, time.Time) error{"Cancel": (*domain.Task).Cancel, "RequestStop": (*domain.Task).RequestStop} {
		task := taskIn(t, domain.StatusPending)
		if name == "RequestStop" {
			task = taskIn(t, domain.StatusProcessing)
		}
		must(t, request(task, at(1)))
		before := task.State()
		must(t, request(task, at(2)))
		if diff := cmp.Diff(before, task.State()); diff != "" {
			t.Errorf("a second %s changed (-before +after):\n%s", name, diff)
		}
	}
}

func TestTask_ReopenGivesFreshBudgets(t *testing.T) {
	task := newTask(t, 1)
	must(t, task.Claim(claim, start), task.Rescue(policy, start), task.MarkQueued(start), task.Claim(claim, start))
	must(t, task.Fail(2, broken, policy, 0, at(1)), task.Reopen(at(2)))
	got := task.State()
	if got.Failures != 0 || got.Rescues != 0 || got.Attempt != 2 || !got.RunAt.Equal(at(2)) || !got.QueuedAt.Equal(at(2)) {
		t.Errorf("state: %+v", got)
	}
}

func TestTask_LastErrorIsBoundedAndCanBeStored(t *testing.T) {
	const bound = 4096
	for name, c := range map[string]struct{ reason, want string }{
		"short":              {"boom", "boom"},
		"as long as it may":  {strings.Repeat("x", bound), strings.Repeat("x", bound)},
		"one too long":       {strings.Repeat("x", bound+1), strings.Repeat("x", bound)},
		"a rune at the edge": {strings.Repeat("x", bound-1) + "é", strings.Repeat("x", bound-1)},
		"wide runes":         {strings.Repeat("🌍", bound), strings.Repeat("🌍", bound/4)},
		"not UTF-8":          {"a\xff\xfeb", "a\uFFFDb"},
		"NUL":                {"a\x00b", "a\uFFFDb"},
	} {
		task := taskIn(t, domain.StatusProcessing)
		must(t, task.Fail(1, domain.Failure{Reason: c.reason}, policy, 0, at(1)))
		got := task.State().LastError
		if got != c.want || !utf8.ValidString(got) {
			t.Errorf("%s: kept %d bytes %.20q, want %d bytes %.20q", name, len(got), got, len(c.want), c.want)
		}
	}
}

func TestTask_StoredVersionIsWhatASaveComparesWith(t *testing.T) {
	task, err := domain.Restore(taskIn(t, domain.StatusProcessing).State())
	must(t, err)
	must(t, task.RequestStop(at(1)), task.Complete(1, "done", at(2)))
	if task.StoredVersion() != 2 || task.Version() != 4 {
		t.Fatalf("stored %d, version %d; want 2 and 4", task.StoredVersion(), task.Version())
	}
	if task.MarkStored(); task.StoredVersion() != 4 {
		t.Errorf("stored %d after the save, want 4", task.StoredVersion())
	}
}

func TestTask_StoredIsTheTaskAsTheStoreHasIt(t *testing.T) {
	loaded := taskIn(t, domain.StatusProcessing).State()
	task, err := domain.Restore(loaded)
	must(t, err)
	must(t, task.Complete(1, "done", at(2)))
	if !reflect.DeepEqual(task.Stored(), loaded) {
		t.Errorf("stored %+v, want what was loaded, %+v", task.Stored(), loaded)
	}
	if task.MarkStored(); !reflect.DeepEqual(task.Stored(), task.State()) {
		t.Errorf("stored %+v after the save, want %+v", task.Stored(), task.State())
	}
	task, err = domain.NewTask(domain.TaskSpec{Message: "m", MaxAttempts: new(1)}, at(0))
	if must(t, err); !reflect.DeepEqual(task.Stored(), domain.TaskState{}) {
		t.Errorf("a new task is stored as %+v", task.Stored())
	}
}

func TestTask_IsASuspectWhenOneMoreLossFailsIt(t *testing.T) {
	for _, c := range []struct{ rescues, of int }{{0, 1}, {0, 2}, {0, 3}, {1, 3}, {1, 2}, {2, 3}} {
		task, p := newTask(t, 3), domain.RetryPolicy{MaxRescues: c.of}
		for range c.rescues {
			must(t, task.Claim(claim, at(1)), task.Rescue(p, at(1)), task.MarkQueued(at(1)))
		}
		// One that has lost no worker is none, though the first loss may fail it.
		want := c.rescues > 0 && c.rescues == c.of-1
		if got := task.Suspect(p); got != want {
			t.Errorf("after %d rescues of %d: %t", c.rescues, c.of, got)
		}
	}
}

func TestTask_DeferWaitsForLongerWithEachAttempt(t *testing.T) {
	task := newTask(t, 3)
	for attempt, want := range []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second} {
		must(t, task.Claim(claim, at(1)), task.Defer(attempt+1, policy, 0.5, at(1)))
		if s := task.State(); s.RunAt.Sub(s.UpdatedAt) != want || s.Rescues+s.Failures != 0 || s.LastError != "" {
			t.Errorf("attempt %d: %+v, want a wait of %s", attempt+1, s, want)
		}
		must(t, task.MarkQueued(at(100)))
	}
}
