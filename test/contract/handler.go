package contract

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// Behaviour is what the work behind a handler does with every task.
type Behaviour string

// The behaviours.
const (
	Echoes      Behaviour = "echoes"         // succeeds; the result is the message, to the byte
	Names       Behaviour = "names"          // succeeds; the result is the task's id, a space and the attempt
	Fails       Behaviour = "fails"          // fails, and says HandlerReason
	FailsAtOnce Behaviour = "fails for good" // fails, says HandlerReason and that no retry can help
	Postpones   Behaviour = "postpones"      // fails, and wants the next try after HandlerWait
	Hangs       Behaviour = "hangs"          // never ends by itself, nor, if it is a process of its own, when it is asked to
	Floods      Behaviour = "floods"         // succeeds; the result is 10 MB of HandlerFlood
	Garbles     Behaviour = "garbles"        // succeeds; the result is HandlerGarbage
	Rants       Behaviour = "rants"          // fails, and says 10 MB of HandlerGarbage on lines of their own
	Panics      Behaviour = "panics"         // panics, in the process of the worker
	Lacks       Behaviour = "lacks"          // does not begin: the worker has no descriptor, process or port left
)

// What the behaviours say.
const (
	HandlerReason  = "the disk is full"
	HandlerWait    = 7 * time.Second
	HandlerFlood   = "x"
	HandlerGarbage = "before \x00 \xff\xfe \xc3( after"
	HandlerVolume  = 10 << 20
)

// handlerSoon is how long a handler may take once its context has ended: what a
// worker waits for before it leaves the handler behind.
const handlerSoon = 3 * time.Second

// handlerPatience bounds one call: only a handler that hangs takes longer.
const handlerPatience = 2 * time.Minute

// Handler is the suite of application.Handler. open returns a handler whose work
// behaves as it is told; except names what its technology has no words for.
func Handler(t *testing.T, open func(t *testing.T, b Behaviour) application.Handler, except ...Behaviour) {
	for name, check := range map[string]struct {
		behaviour Behaviour
		run       func(*testing.T, application.Handler)
	}{
		"SuccessHasTheResult":                {Echoes, handlerResult},
		"TheMessageArrivesToTheByte":         {Echoes, handlerMessages},
		"TheWorkKnowsTaskAndAttempt":         {Names, handlerNames},
		"ManyAtOnceGetTheirOwn":              {Names, handlerMany},
		"FailureSaysWhyAndIsTriedAgain":      {Fails, handlerFailure},
		"PermanentFailureSaysSo":             {FailsAtOnce, handlerPermanent},
		"RetryAfterSaysWhen":                 {Postpones, handlerRetryAfter},
		"DeadlineEndsItSoon":                 {Hangs, handlerDeadline},
		"CancelEndsItSoon":                   {Hangs, handlerCancel},
		"ManyAreEndedAtOnce":                 {Hangs, handlerCancelMany},
		"AnEndedContextStartsNothingLasting": {Hangs, handlerEnded},
		"HugeResultIsMarkedAsCut":            {Floods, handlerFlood},
		"HugeResultsAtOnceAreMarkedAsCut":    {Floods, handlerFloods},
		"ResultThatIsNoTextDoesNoHarm":       {Garbles, handlerGarbage},
		"HugeReasonThatIsNoTextDoesNoHarm":   {Rants, handlerRant},
		"PanicStaysWithTheCaller":            {Panics, handlerPanic},
		"WhatTheWorkerLacksIsNoFailure":      {Lacks, handlerLacks},
	} {
		if slices.Contains(except, check.behaviour) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check.run(t, open(t, check.behaviour))
		})
	}
}

// claimedTask makes a task that a worker has claimed for the given attempt.
func claimedTask(t *testing.T, message string, attempt int) *domain.Task {
	t.Helper()
	task, err := domain.NewTask(domain.TaskSpec{Message: message, MaxAttempts: new(3)}, now())
	if err != nil {
		t.Fatalf("new task: %v", err)
	}
	claim := domain.Claim{Worker: domain.NewWorkerID(), Beat: 1, Timeout: time.Hour}
	for {
		if err := task.Claim(claim, now()); err != nil {
			t.Fatalf("claim: %v", err)
		}
		if task.Attempt() == attempt {
			return task
		}
		if err := errors.Join(task.Release(task.Attempt(), now()), task.MarkQueued(now())); err != nil {
			t.Fatalf("give back: %v", err)
		}
	}
}

// handled calls the handler as a worker does, with all the time that it needs.
func handled(t *testing.T, h application.Handler, task *domain.Task) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), handlerPatience)
	defer cancel()
	return h.Handle(ctx, task)
}

func handlerResult(t *testing.T, h application.Handler) {
	task := claimedTask(t, "Hello World", 1)
	result, err := handled(t, h, task)
	if err != nil || result != "Hello World" {
		t.Fatalf("result %q, error %v", result, err)
	}
	complete(t, task, result)
	if s := task.State(); s.Result != "Hello World" || s.ResultTruncated || s.ResultAltered {
		t.Errorf("the task keeps %q, cut: %v, altered: %v", s.Result, s.ResultTruncated, s.ResultAltered)
	}
}

func handlerMessages(t *testing.T, h application.Handler) {
	for _, message := range []string{
		" ", "\n", "-n", "%s %d \\n $HOME `id` $(id) ; | & > < * ? \" '", "line\r\nline\n\n",
		`{"a":1, "b" : [ ]}`, "\u00e9\u4e16\U0001F600\u2028\u0001\u001b[31m", strings.Repeat("\u00e9", domain.MaxResult/2),
	} {
		if result, err := handled(t, h, claimedTask(t, message, 1)); err != nil || result != message {
			t.Errorf("message %.40q came back as %.40q (%d bytes), error %v", message, result, len(result), err)
		}
	}
}

func handlerNames(t *testing.T, h application.Handler) {
	task := claimedTask(t, "Hello World", 3)
	if result, err := handled(t, h, task); err != nil || strings.TrimSpace(result) != task.ID().String()+" 3" {
		t.Errorf("result %q, error %v; want %s 3", result, err, task.ID())
	}
}

func handlerMany(t *testing.T, h application.Handler) {
	var all sync.WaitGroup
	for range 100 {
		task := claimedTask(t, "Hello World", 2)
		all.Go(func() {
			if result, err := handled(t, h, task); err != nil || strings.TrimSpace(result) != task.ID().String()+" 2" {
				t.Errorf("result %q, error %v; want %s 2", result, err, task.ID())
			}
		})
	}
	all.Wait()
}

// failure calls the handler, which has to fail, and returns what it says.
func failure(t *testing.T, h application.Handler) domain.Failure {
	t.Helper()
	result, err := handled(t, h, claimedTask(t, "Hello World", 1))
	if err == nil {
		t.Fatalf("no error; result %.100q", result)
	}
	return application.FailureOf(err)
}

func handlerFailure(t *testing.T, h application.Handler) {
	f := failure(t, h)
	if !strings.Contains(f.Reason, HandlerReason) || f.Permanent || f.RetryAfter != 0 {
		t.Errorf("%+v", f)
	}
	if _, err := handled(t, h, claimedTask(t, "Hello World", 1)); application.IsNotStarted(err) {
		t.Errorf("it was started: %v", err)
	}
}

func handlerPermanent(t *testing.T, h application.Handler) {
	if f := failure(t, h); !strings.Contains(f.Reason, HandlerReason) || !f.Permanent {
		t.Errorf("%+v", f)
	}
}

func handlerRetryAfter(t *testing.T, h application.Handler) {
	if f := failure(t, h); f.RetryAfter != HandlerWait || f.Permanent {
		t.Errorf("%+v", f)
	}
}

// ends calls the handler under ctx, which end ends, and checks that it returns an
// error after that and not before. It returns how long that took.
func ends(t *testing.T, h application.Handler, ctx context.Context, end func()) time.Duration { //nolint:revive // t comes first
	t.Helper()
	task := claimedTask(t, "Hello World", 1)
	done := make(chan error, 1)
	go func() {
		_, err := h.Handle(ctx, task)
		done <- err
	}()
	select {
	case err := <-done:
		if ctx.Err() == nil {
			t.Errorf("it ended by itself: %v", err)
		}
		done <- err
	case <-time.After(200 * time.Millisecond):
	}
	end()
	<-ctx.Done()
	begin := time.Now()
	select {
	case err := <-done:
		if err == nil {
			t.Error("it reported success")
		}
	case <-time.After(handlerPatience):
		t.Errorf("it did not return within %s, but later: %v", handlerPatience, <-done)
	}
	return time.Since(begin)
}

func handlerDeadline(t *testing.T, h application.Handler) {
	usuallyWithin(t, handlerSoon, "the end after the deadline", func() time.Duration {
		ctx, cancel := context.WithTimeoutCause(t.Context(), 500*time.Millisecond, errors.New("the attempt's time is over"))
		defer cancel()
		return ends(t, h, ctx, func() {})
	})
}

func handlerCancel(t *testing.T, h application.Handler) {
	usuallyWithin(t, handlerSoon, "the end after the cancellation", func() time.Duration {
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		return ends(t, h, ctx, func() { cancel(errors.New("the task is asked to stop")) })
	})
}

func handlerCancelMany(t *testing.T, h application.Handler) {
	usuallyWithin(t, handlerSoon, "the end of many after the cancellation", func() time.Duration {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var all sync.WaitGroup
		var took [10]time.Duration
		for i := range took {
			all.Go(func() { took[i] = ends(t, h, ctx, cancel) })
		}
		all.Wait()
		return slices.Max(took[:])
	})
}

func handlerEnded(t *testing.T, h application.Handler) {
	usuallyWithin(t, handlerSoon, "the end under a context that has ended", func() time.Duration {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		return ends(t, h, ctx, cancel)
	})
}

// complete ends the task with the result, as a worker does.
func complete(t *testing.T, task *domain.Task, result string) {
	t.Helper()
	if err := task.Complete(task.Attempt(), result, now()); err != nil {
		t.Errorf("complete: %v", err)
	}
}

func handlerFlood(t *testing.T, h application.Handler) {
	task := claimedTask(t, "Hello World", 1)
	result, err := handled(t, h, task)
	if err != nil {
		t.Errorf("error %v", err)
		return
	}
	complete(t, task, result)
	if s := task.State(); s.Result != strings.Repeat(HandlerFlood, domain.MaxResult) || !s.ResultTruncated || s.ResultAltered {
		t.Errorf("the task keeps %d bytes, cut: %v, altered: %v", len(s.Result), s.ResultTruncated, s.ResultAltered)
	}
}

func handlerFloods(t *testing.T, h application.Handler) {
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() { handlerFlood(t, h) })
	}
	all.Wait()
}

// checkText checks that a store and an API can take it.
func checkText(t *testing.T, text string) {
	t.Helper()
	if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
		t.Errorf("no text: %.200q", text)
	}
	if !strings.Contains(text, "before ") || !strings.Contains(text, " after") {
		t.Errorf("what was text is gone: %.200q", text)
	}
}

func handlerGarbage(t *testing.T, h application.Handler) {
	task := claimedTask(t, "Hello World", 1)
	result, err := handled(t, h, task)
	if err != nil {
		t.Fatalf("error %v", err)
	}
	complete(t, task, result)
	checkText(t, task.State().Result)
	if !task.State().ResultAltered {
		t.Error("the task does not say that its result is altered")
	}
}

func handlerRant(t *testing.T, h application.Handler) {
	task := claimedTask(t, "Hello World", 1)
	_, err := handled(t, h, task)
	if err == nil {
		t.Fatal("no error")
	}
	if err := task.Fail(1, application.FailureOf(err), domain.RetryPolicy{}, 0, now()); err != nil {
		t.Fatalf("fail: %v", err)
	}
	checkText(t, task.State().LastError)
}

// handlerPanic: the worker recovers where it called the handler, so a panic comes
// up there if not as an error, and leaves a handler that can be called again.
func handlerPanic(t *testing.T, h application.Handler) {
	for range 2 {
		func() {
			defer func() { _ = recover() }() // what the worker makes an error of
			if result, err := handled(t, h, claimedTask(t, "Hello World", 1)); err == nil {
				t.Errorf("neither panic nor error; result %q", result)
			}
		}()
	}
}

func handlerLacks(t *testing.T, h application.Handler) {
	_, err := handled(t, h, claimedTask(t, "Hello World", 1))
	if err == nil || !application.IsNotStarted(err) || application.FailureOf(err).Permanent {
		t.Errorf("error %v", err)
	}
}
