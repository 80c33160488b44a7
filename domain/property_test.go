package domain_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/millrace/millrace/domain"
)

// life is a task under a random sequence of calls, with the moves that it made.
type life struct {
	task    *domain.Task
	seen    map[move]int
	records map[int]domain.Attempt // what became of the attempts that ended without success
}

// call makes one call and checks what holds of every call.
func (l *life) call(t *rapid.T, method string, call func() error) {
	before, unsaved := l.task.State(), len(l.task.EndedAttempts())
	err := call()
	after, news := l.task.State(), l.task.EndedAttempts()[unsaved:]
	if err != nil {
		if _, ok := errors.AsType[*domain.Error](err); !ok {
			t.Fatalf("%s returns the untyped %v", method, err)
		}
		if !reflect.DeepEqual(before, after) || len(news) > 0 {
			t.Fatalf("%s returns %q and yet changed\n%+v to\n%+v", method, err, before, after)
		}
		return
	}
	checkMove(t, method, before, after)
	checkCounters(t, method, before, after)
	checkParts(t, after)
	l.checkAttempts(t, method, before, after, news)
	if before.Status != after.Status {
		l.seen[move{before.Status, after.Status}]++
	}
}

// checkMove checks the status against the test's own list of moves.
func checkMove(t *rapid.T, method string, before, after domain.TaskState) {
	from, to := before.Status, after.Status
	if from != to && !moves[move{from, to}] {
		t.Fatalf("%s moved a task from %s to %s", method, from, to)
	}
	if from.Ended() && !reflect.DeepEqual(before, after) && (method != "Reopen" || from != domain.StatusFailed) {
		t.Fatalf("%s changed an ended task:\n%+v to\n%+v", method, before, after)
	}
	if !before.StopRequestedAt.IsZero() && from == domain.StatusProcessing &&
		to != domain.StatusProcessing && to != domain.StatusCanceled && to != domain.StatusCompleted {
		t.Fatalf("%s made a task %s that was asked to stop", method, to)
	}
}

// outcomes is how an attempt ends by each call that gives a task back.
var outcomes = map[string]domain.AttemptOutcome{
	"Fail": domain.OutcomeFailed, "Release": domain.OutcomeReleased, "Defer": domain.OutcomeReleased, "Rescue": domain.OutcomeLost, "GiveUp": domain.OutcomeLost,
}

// checkAttempts checks that a call which gives a task back makes one record, any
// other none, and that records and task together tell of each attempt once.
func (l *life) checkAttempts(t *rapid.T, method string, before, after domain.TaskState, news []domain.Attempt) {
	want, gaveBack := outcomes[method]
	if after.Status == domain.StatusCanceled {
		want = domain.OutcomeStopped
	}
	switch {
	case !gaveBack && len(news) > 0, gaveBack && len(news) != 1:
		t.Fatalf("%s has made the records %+v", method, news)
	case gaveBack:
		got := news[0]
		if got.Number != before.Attempt || got.Worker != before.Worker || got.StartedAt != before.StartedAt ||
			got.EndedAt != after.UpdatedAt || got.Outcome != want || got.EndedAt.Before(got.StartedAt) {
			t.Fatalf("%s has made the record %+v of\n%+v", method, got, before)
		}
		if len(got.Error) > 4096 || !utf8.ValidString(got.Error) || strings.ContainsRune(got.Error, 0) {
			t.Fatalf("%s has recorded the error %q", method, got.Error)
		}
		l.records[got.Number] = got
	}
	told := len(l.records)
	latest, ok := l.task.LatestAttempt()
	if _, recorded := l.records[latest.Number]; ok && recorded {
		t.Fatalf("the task and a record tell of attempt %d", latest.Number)
	}
	if ok {
		told++
	}
	if told != after.Attempt || ok != (after.Worker != "") {
		t.Fatalf("%d of %d attempts are told of: %+v and %+v", told, after.Attempt, l.records, latest)
	}
}

// checkCounters checks what only grows, by how much and by which call.
func checkCounters(t *rapid.T, method string, before, after domain.TaskState) {
	changes := after.Version - before.Version
	switch {
	case reflect.DeepEqual(before, after) && changes != 0, changes < 0, changes > 1:
		t.Fatalf("%s moved the version from %d to %d", method, before.Version, after.Version)
	case method == "MarkQueued":
		before.QueuedAt = after.QueuedAt
		if !reflect.DeepEqual(before, after) {
			t.Fatalf("MarkQueued changed more than the mark:\n%+v to\n%+v", before, after)
		}
	case !reflect.DeepEqual(before, after) && changes != 1:
		t.Fatalf("%s changed a task and not its version", method)
	}
	if after.UpdatedAt.Before(before.UpdatedAt) {
		t.Fatalf("%s moved updated_at back from %s to %s", method, before.UpdatedAt, after.UpdatedAt)
	}
	if method == "GiveUp" { // is charged as a rescue
		method = "Rescue"
	}
	grown := map[string]int{
		"Claim":  after.Attempt - before.Attempt,
		"Fail":   after.Failures - before.Failures,
		"Rescue": after.Rescues - before.Rescues,
	}
	for by, n := range grown {
		if reset := method == "Reopen" && by != "Claim"; n != 0 && (n != 1 || by != method) && !reset {
			t.Fatalf("%s moved what only %s may, by %d", method, by, n)
		}
	}
	if method == "Claim" && grown["Claim"] != 1 {
		t.Fatal("a claim did not raise the attempt")
	}
	if !reflect.DeepEqual(fixed(after), fixed(before)) {
		t.Fatalf("%s changed what never changes:\n%+v to\n%+v", method, before, after)
	}
}

// fixed is what never changes of a task.
func fixed(s domain.TaskState) domain.TaskState {
	return domain.TaskState{
		ID: s.ID, Message: s.Message, MaxAttempts: s.MaxAttempts, CreatedAt: s.CreatedAt,
		Queue: s.Queue, Priority: s.Priority, Timeout: s.Timeout, Metadata: s.Metadata, TraceParent: s.TraceParent, TraceState: s.TraceState,
	}
}

// checkParts checks what holds of every state.
func checkParts(t *rapid.T, s domain.TaskState) {
	restored, err := domain.Restore(s)
	if err != nil {
		t.Fatalf("a state that was reached is refused: %v\n%+v", err, s)
	}
	if !reflect.DeepEqual(restored.State(), s) || restored.StoredVersion() != s.Version {
		t.Fatalf("restored, the task is another:\n%+v not\n%+v", restored.State(), s)
	}
	for name, moment := range map[string]time.Time{
		"created_at": s.CreatedAt, "updated_at": s.UpdatedAt, "run_at": s.RunAt, "queued_at": s.QueuedAt,
		"deadline": s.Deadline, "started_at": s.StartedAt, "stop_requested_at": s.StopRequestedAt,
	} {
		if moment.Location() != time.UTC || moment.Nanosecond()%1000 != 0 {
			t.Fatalf("%s is %s: not UTC in whole microseconds", name, moment)
		}
	}
	if s.ClaimBeat != 0 && s.Status != domain.StatusProcessing {
		t.Fatalf("%s and claimed under beat %d", s.Status, s.ClaimBeat)
	}
	if !s.QueuedAt.IsZero() && s.QueuedAt.Before(s.RunAt) {
		t.Fatalf("queued at %s, before its time %s", s.QueuedAt, s.RunAt)
	}
	if s.Failures >= s.MaxAttempts && s.Status != domain.StatusFailed {
		t.Fatalf("%s with %d failures of %d", s.Status, s.Failures, s.MaxAttempts)
	}
	if (s.Result != "" || s.ResultTruncated || s.ResultAltered) && s.Status != domain.StatusCompleted {
		t.Fatalf("%s with the result %.40q", s.Status, s.Result)
	}
	if len(s.Result) > domain.MaxResult || !utf8.ValidString(s.Result) || strings.ContainsRune(s.Result, 0) {
		t.Fatalf("result: %d bytes, %.40q", len(s.Result), s.Result)
	}
	if s.StartedAt.After(s.UpdatedAt) || !s.StopRequestedAt.IsZero() && s.StopRequestedAt.Before(s.StartedAt) {
		t.Fatalf("started at %s, updated at %s, asked to stop at %s", s.StartedAt, s.UpdatedAt, s.StopRequestedAt)
	}
	if len(s.LastError) > 4096 || !utf8.ValidString(s.LastError) {
		t.Fatalf("last_error: %d bytes, %.40q", len(s.LastError), s.LastError)
	}
}

// now draws a time from a clock that may jump an hour either way, anywhere on Earth.
func now(t *rapid.T) time.Time {
	zone := time.FixedZone("", rapid.IntRange(-14, 14).Draw(t, "zone")*3600)
	return start.Add(time.Duration(rapid.Int64Range(int64(-time.Hour), int64(time.Hour)).Draw(t, "now"))).In(zone)
}

// attempt draws a number that is mostly the one that holds the task.
func (l *life) attempt(t *rapid.T) int {
	return l.task.Attempt() + rapid.SampledFrom([]int{0, 0, 0, 0, -1, 1}).Draw(t, "attempt off by")
}

// actions are the calls that a task's life is made of.
func (l *life) actions() map[string]func(*rapid.T) {
	policies := rapid.Custom(func(t *rapid.T) domain.RetryPolicy {
		return domain.RetryPolicy{
			Base:       time.Duration(rapid.Int64Range(0, int64(time.Minute)).Draw(t, "base")),
			Cap:        time.Duration(rapid.Int64Range(0, int64(time.Minute)).Draw(t, "cap")),
			MaxRescues: rapid.IntRange(1, 3).Draw(t, "rescues"),
		}
	})
	calls := map[string]func(t *rapid.T) error{
		"Claim": func(t *rapid.T) error {
			return l.task.Claim(domain.Claim{
				Worker:  rapid.SampledFrom([]domain.WorkerID{"", "w1", "w2", "w3"}).Draw(t, "worker"),
				Beat:    rapid.Int64Range(1, 9).Draw(t, "beat"),
				Timeout: time.Duration(rapid.Int64Range(1, int64(time.Hour)).Draw(t, "timeout")),
			}, now(t))
		},
		"Complete": func(t *rapid.T) error {
			part := string(rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "result"))
			return l.task.Complete(l.attempt(t), strings.Repeat(part, rapid.SampledFrom([]int{1, 1, 5000}).Draw(t, "times")), now(t))
		},
		"Fail": func(t *rapid.T) error {
			f := domain.Failure{
				Reason:     string(rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "reason")),
				Permanent:  rapid.IntRange(0, 4).Draw(t, "permanent") == 4,
				RetryAfter: time.Duration(rapid.Int64Range(int64(-time.Second), int64(time.Minute)).Draw(t, "retry after")),
			}
			return l.task.Fail(l.attempt(t), f, policies.Draw(t, "policy"), rapid.Float64Range(0, 0.999).Draw(t, "part"), now(t))
		},
		"Release": func(t *rapid.T) error { return l.task.Release(l.attempt(t), now(t)) },
		"Rescue":  func(t *rapid.T) error { return l.task.Rescue(policies.Draw(t, "policy"), now(t)) },
		"Defer": func(t *rapid.T) error {
			return l.task.Defer(l.attempt(t), policies.Draw(t, "policy"), rapid.Float64Range(0, 0.999).Draw(t, "part"), now(t))
		},
		"GiveUp":      func(t *rapid.T) error { return l.task.GiveUp(l.attempt(t), policies.Draw(t, "policy"), now(t)) },
		"Cancel":      func(t *rapid.T) error { return l.task.Cancel(now(t)) },
		"RequestStop": func(t *rapid.T) error { return l.task.RequestStop(now(t)) },
		"Reopen":      func(t *rapid.T) error { return l.task.Reopen(now(t)) },
		"MarkQueued":  func(t *rapid.T) error { return l.task.MarkQueued(now(t)) },
	}
	actions := map[string]func(*rapid.T){
		// What a store does between two changes must make no difference.
		"store and load": func(t *rapid.T) {
			task, err := domain.Restore(l.task.State())
			if err != nil {
				t.Fatal(err)
			}
			if len(task.EndedAttempts()) > 0 {
				t.Fatal("a task that was loaded has attempts to be saved")
			}
			l.task = task
		},
		"save":  func(*rapid.T) { l.task.MarkStored() },
		"clone": func(*rapid.T) { l.task = l.task.Clone() },
	}
	for method, call := range calls {
		actions[method] = func(t *rapid.T) { l.call(t, method, func() error { return call(t) }) }
	}
	return actions
}

func TestTask_NoSequenceOfCallsBreaksARule(t *testing.T) {
	seen := map[move]int{}
	check := func(t *rapid.T) {
		task, err := domain.NewTask(domain.TaskSpec{
			Message:     rapid.StringN(1, 20, -1).Filter(storable).Draw(t, "message"),
			MaxAttempts: new(rapid.IntRange(1, 3).Draw(t, "max attempts")),
			Queue:       rapid.SampledFrom([]*domain.QueueName{nil, new(domain.QueueName("mail"))}).Draw(t, "queue"),
			Priority:    rapid.IntRange(0, domain.MaxPriority).Draw(t, "priority"),
			Delay:       rapid.SampledFrom([]*time.Duration{nil, nil, new(time.Duration(0)), new(time.Minute)}).Draw(t, "delay"),
			Timeout:     rapid.SampledFrom([]*time.Duration{nil, new(time.Second)}).Draw(t, "own timeout"),
			Metadata:    rapid.SampledFrom([]map[string]string{nil, {"user": "7"}}).Draw(t, "metadata"),
		}, now(t))
		if err != nil {
			t.Fatal(err)
		}
		l := &life{task: task, seen: seen, records: map[int]domain.Attempt{}}
		checkParts(t, task.State())
		t.Repeat(l.actions())
	}
	for range 10 { // a hundred lives each: enough for the rarest move
		rapid.Check(t, check)
	}
	// A run that never makes a move proves nothing about it.
	for m := range moves {
		if seen[m] == 0 {
			t.Errorf("no sequence moved a task from %s to %s", m.from, m.to)
		}
	}
}

// storable reports whether a message is one that the domain takes.
func storable(s string) bool {
	for _, r := range s {
		if r == 0 {
			return false
		}
	}
	return utf8.ValidString(s)
}
