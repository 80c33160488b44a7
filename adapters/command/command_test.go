//go:build linux

package command

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// claimed makes a task of its first attempt.
func claimed(t *testing.T, message string) *domain.Task {
	t.Helper()
	task, err := domain.NewTask(domain.TaskSpec{Message: message, MaxAttempts: new(3)}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := task.Claim(domain.Claim{Worker: domain.NewWorkerID(), Beat: 1, Timeout: time.Hour}, time.Now()); err != nil {
		t.Fatal(err)
	}
	return task
}

func TestHandler_TakesTheExitCodeForTheOutcome(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		script    string
		permanent bool
		reason    string
	}{
		{script: "exit 1", reason: "the program exited with 1"},
		{script: "exit 64", reason: "the program exited with 64 (EX_USAGE)"},
		{script: "echo wrong >&2; exit 65", permanent: true, reason: "the program exited with 65 (EX_DATAERR): wrong"},
		{script: "echo result; echo later >&2; exit 75", reason: "the program exited with 75 (EX_TEMPFAIL): later"},
		{script: "exit 255", reason: "the program exited with 255"},
		{script: "echo ouch >&2; kill -KILL $$", reason: "the program was ended by a signal: killed: ouch"},
		{script: "/nowhere 2>/dev/null", reason: "the program exited with 127"},
	} {
		result, err := shell(t, c.script).Handle(t.Context(), claimed(t, "Hello World"))
		if err == nil || result != "" {
			t.Errorf("%s: result %q, error %v", c.script, result, err)
			continue
		}
		if f := application.FailureOf(err); f.Reason != c.reason || f.Permanent != c.permanent || f.RetryAfter != 0 {
			t.Errorf("%s: %+v", c.script, f)
		}
	}
}

func TestHandler_KeepsStandardOutputOnly(t *testing.T) {
	t.Parallel()
	result, err := shell(t, "echo fine; echo chatter >&2").Handle(t.Context(), claimed(t, "Hello World"))
	if err != nil || result != "fine\n" {
		t.Errorf("result %q, error %v", result, err)
	}
}

func TestHandler_ReadsNoMoreThanATaskKeeps(t *testing.T) {
	t.Parallel()
	result, err := shell(t, "head -c 10485760 /dev/zero").Handle(t.Context(), claimed(t, "Hello World"))
	if err != nil || len(result) != domain.MaxResult+1 {
		t.Errorf("%d bytes, error %v", len(result), err)
	}
	_, err = shell(t, "head -c 10485760 /dev/zero >&2; echo the end >&2; exit 1").Handle(t.Context(), claimed(t, "Hello World"))
	if err == nil || len(err.Error()) > maxProblem+100 || !strings.HasSuffix(err.Error(), "the end") {
		t.Errorf("%.300q", err)
	}
}

func TestHandler_LetsTheTaskSayThatItsResultIsAltered(t *testing.T) {
	t.Parallel()
	for script, want := range map[string]domain.TaskState{
		`printf 'Gr\303\274\303\237e\n'`:         {Result: "Grüße\n"},
		`printf 'Gr\374\337e'`:                   {Result: "Gr\uFFFDe", ResultAltered: true}, // Latin-1
		`printf 'a\000b'`:                        {Result: "a\uFFFDb", ResultAltered: true},
		`head -c 65537 /dev/zero | tr '\0' x`:    {Result: strings.Repeat("x", domain.MaxResult), ResultTruncated: true},
		`printf '\377'; head -c 65536 /dev/zero`: {Result: strings.Repeat("\uFFFD", domain.MaxResult/3), ResultAltered: true, ResultTruncated: true},
	} {
		task := claimed(t, "Hello World")
		result, err := shell(t, script).Handle(t.Context(), task)
		if err := errors.Join(err, task.Complete(task.Attempt(), result, time.Now())); err != nil {
			t.Errorf("%s: %v", script, err)
			continue
		}
		got := task.State()
		if got.Result != want.Result || got.ResultAltered != want.ResultAltered || got.ResultTruncated != want.ResultTruncated {
			t.Errorf("%s: %d bytes %.40q, altered %v, truncated %v", script, len(got.Result), got.Result, got.ResultAltered, got.ResultTruncated)
		}
	}
}

func TestHandler_TakesAProgramThatDoesNotReadItsInput(t *testing.T) {
	t.Parallel()
	for _, script := range []string{"exit 0", "exec <&-", "head -c 1 >/dev/null", "sleep 0.1"} {
		if _, err := shell(t, script).Handle(t.Context(), claimed(t, strings.Repeat("x", 4<<20))); err != nil {
			t.Errorf("%s: %v", script, err)
		}
	}
}

func TestHandler_GivesTheProgramNoOtherEnvironment(t *testing.T) {
	t.Setenv("DATABASE_URL", "s3cret")
	h, err := New(Config{Path: "env", Env: []string{"LANG=C", "MILLRACE_ATTEMPT=99"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	deadline, _ := ctx.Deadline()
	task := claimed(t, "Hello World")
	result, err := h.Handle(ctx, task)
	got := strings.Fields(result)
	slices.Sort(got)
	want := []string{
		"LANG=C", "MILLRACE_ATTEMPT=1", "MILLRACE_DEADLINE=" + deadline.UTC().Format(time.RFC3339),
		"MILLRACE_QUEUE=default", "MILLRACE_TASK_ID=" + task.ID().String(),
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, error %v", got, err)
	}
}

func TestHandler_ArgumentsMeetNoShell(t *testing.T) {
	t.Parallel()
	args := []string{"%s\n", "a b", "$HOME", "`id`", "*", ";", "", "|"}
	h, err := New(Config{Path: "/usr/bin/printf", Args: args})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := h.Handle(t.Context(), claimed(t, "Hello World")); err != nil || got != strings.Join(args[1:], "\n")+"\n" {
		t.Errorf("%q, error %v", got, err)
	}
}

func TestNew_RefusesWhatCannotBeRun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, []byte("#!/bin/sh\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"": "", dir: "", plain: "permission denied", filepath.Join(dir, "missing\n"): "no such file", "no-such-program-anywhere": "not found",
	} {
		_, err := New(Config{Path: path})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: error %v", path, err)
		}
	}
}

// What worked at the start may be gone later: that is the task's failure, tried again.
func TestHandler_FailsWhenTheProgramHasGone(t *testing.T) {
	t.Parallel()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink("/bin/sh", link); err != nil {
		t.Fatal(err)
	}
	h, err := New(Config{Path: link, Args: []string{"-c", "exit 0"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(link); err != nil {
		t.Fatal(err)
	}
	_, err = h.Handle(t.Context(), claimed(t, "Hello World"))
	if err == nil || application.FailureOf(err).Permanent {
		t.Errorf("error %v", err)
	}
}

func TestTail(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		writes []string
		want   string
	}{
		{nil, ""},
		{[]string{"abcdef"}, "abcdef"},
		{[]string{"abc", "def"}, "abcdef"},
		{[]string{"abcd", "efgh"}, "…cdefgh"},
		{[]string{"abcdefgh"}, "…cdefgh"},
		{[]string{"x", "abcdefgh", "i"}, "…defghi"},
		{[]string{"aéüö"}, "…éüö"},
		{[]string{"aéüöb"}, "…üöb"},
		{[]string{"\xff\xff\xff\xff\xff\xff\xff"}, "…\xff\xff\xff\xff\xff\xff"},
	} {
		got := &tail{limit: 6}
		for _, w := range c.writes {
			if n, err := got.Write([]byte(w)); n != len(w) || err != nil {
				t.Errorf("write of %q: %d, %v", w, n, err)
			}
		}
		if got.String() != c.want {
			t.Errorf("%q became %q, not %q", c.writes, got, c.want)
		}
	}
}
