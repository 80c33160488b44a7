//go:build linux

package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/millrace/millrace/application"
)

// state is the state of a process as the kernel names it, such as S for one that
// sleeps and Z for a zombie; "": there is none.
func state(t *testing.T, pid int) string {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(stat[strings.LastIndexByte(string(stat), ')')+2:][:1])
}

// pids are the numbers after "pid" in a text.
func pids(t *testing.T, text string, want int) []int {
	t.Helper()
	var all []int
	for _, m := range regexp.MustCompile(`pid (\d+)`).FindAllStringSubmatch(text, -1) {
		pid, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, pid)
	}
	if len(all) != want {
		t.Fatalf("%d pids in %q, not %d", len(all), text, want)
	}
	return all
}

// wantGone checks that the program, the first of the pids, was reaped, and that
// what it started does not run: whose zombie that is, is init's business.
func wantGone(t *testing.T, pids []int) {
	t.Helper()
	if s := state(t, pids[0]); s != "" {
		t.Errorf("the program %d is still there: %s", pids[0], s)
	}
	for _, pid := range pids[1:] {
		wantKilled(t, pid)
	}
}

// wantKilled checks that the process does not run. It may take the kernel a moment.
func wantKilled(t *testing.T, pid int) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		s := state(t, pid)
		if s == "" || s == "Z" || s == "X" {
			return
		}
		if time.Now().After(end) {
			t.Errorf("process %d is still there: %s", pid, s)
			_ = syscall.Kill(pid, syscall.SIGKILL)
			return
		}
	}
}

var errStop = errors.New("the task is asked to stop")

// stop runs the script and ends its context once it has said that it is ready, by
// creating the file $READY. It returns what the handler did, and how long the end took.
func stop(t *testing.T, script string, grace time.Duration) (string, time.Duration, error) {
	t.Helper()
	ready := t.TempDir() + "/ready"
	h, err := New(Config{Path: "/bin/sh", Args: []string{"-c", script}, Env: []string{"PATH=/usr/bin:/bin", "READY=" + ready}, Grace: grace})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	ended := make(chan time.Time, 1)
	go func() {
		for ctx.Err() == nil {
			if _, err := os.Stat(ready); err == nil {
				ended <- time.Now()
				cancel(errStop)
			}
			time.Sleep(time.Millisecond)
		}
	}()
	result, err := h.Handle(ctx, claimed(t, "Hello World"))
	select {
	case at := <-ended:
		return result, time.Since(at), err
	default:
		t.Fatalf("it ended before its context: %v", err)
		return "", 0, nil
	}
}

func TestHandler_AsksTheProgramToEndFirst(t *testing.T) {
	t.Parallel()
	_, took, err := stop(t, `
		trap 'echo cleaned up >&2; exit 3' TERM
		sleep 600 & echo pid $$ pid $! >&2; sleep 0.1; touch "$READY"; wait`, time.Minute)
	if !errors.Is(err, errStop) || !strings.Contains(err.Error(), "exited with 3") || !strings.Contains(err.Error(), "cleaned up") {
		t.Fatalf("error %v", err)
	}
	if took > 30*time.Second {
		t.Errorf("it took %s", took)
	}
	wantGone(t, pids(t, err.Error(), 2))
}

func TestHandler_KillsAGroupThatDoesNotEnd(t *testing.T) {
	t.Parallel()
	const grace = 300 * time.Millisecond
	_, took, err := stop(t, `
		trap '' TERM
		sleep 600 & one=$!
		(sleep 600; :) & echo pid $$ pid $one pid $! >&2
		touch "$READY"; while :; do sleep 600; done`, grace)
	if !errors.Is(err, errStop) || !strings.Contains(err.Error(), "killed") {
		t.Fatalf("error %v", err)
	}
	if took < grace {
		t.Errorf("it took %s, less than the grace", took)
	}
	wantGone(t, pids(t, err.Error(), 3))
}

// The shell dies of SIGTERM at once, while its child cleans up.
func TestHandler_WaitsForChildrenThatCleanUp(t *testing.T) {
	t.Parallel()
	_, took, err := stop(t, `
		(trap 'sleep 0.3; echo cleaned up >&2; exit' TERM; touch "$READY-too"; while :; do sleep 0.1; done) &
		echo pid $$ pid $! >&2
		until [ -e "$READY-too" ]; do sleep 0.01; done; touch "$READY"; wait`, time.Minute)
	if !errors.Is(err, errStop) || !strings.Contains(err.Error(), "cleaned up") || took > 30*time.Second {
		t.Fatalf("it took %s, error %v", took, err)
	}
	wantGone(t, pids(t, err.Error(), 2))
}

// Programs that behave well exit with 0 on SIGTERM, finished or not.
func TestHandler_AProgramThatWasToldToEndHasNotFinished(t *testing.T) {
	t.Parallel()
	result, _, err := stop(t, `trap 'echo bye; exit 0' TERM; touch "$READY"; while :; do sleep 0.1; done`, time.Minute)
	if !errors.Is(err, errStop) || result != "" {
		t.Errorf("result %q, error %v", result, err)
	}
}

func TestHandler_KillsWhatTheProgramLeaves(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		script string
		failed bool
	}{
		{"sleep 600 & echo pid $$ pid $!", false},
		{"trap '' TERM; sleep 600 & echo pid $$ pid $!", false},
		{"sleep 600 >/dev/null 2>&1 </dev/null & echo pid $$ pid $!", false},
		{"sleep 600 & echo pid $$ pid $! >&2; exit 1", true},
	} {
		begun := time.Now()
		text, err := shell(t, c.script).Handle(t.Context(), claimed(t, strings.Repeat("x", 1<<20)))
		if (err != nil) != c.failed || time.Since(begun) > 2*time.Minute {
			t.Fatalf("%s: error %v after %s", c.script, err, time.Since(begun))
		}
		if c.failed {
			text = err.Error()
		}
		wantGone(t, pids(t, text, 2))
	}
}

// What has made itself a group of its own is not the handler's to kill; holding
// the pipes it holds nobody up.
func TestHandler_ReturnsWhenAStrangerHoldsThePipes(t *testing.T) {
	t.Parallel()
	begun := time.Now()
	result, err := shell(t, `exec 3<&0; setsid sleep 600 <&3 & echo pid $$ pid $!; sleep 0.1`).Handle(t.Context(), claimed(t, strings.Repeat("x", 1<<20)))
	if err != nil || time.Since(begun) > 2*time.Minute {
		t.Fatalf("error %v after %s", err, time.Since(begun))
	}
	all := pids(t, result, 2)
	if err := syscall.Kill(all[1], syscall.SIGKILL); err != nil {
		t.Errorf("the stranger is gone: %v", err)
	}
	wantGone(t, all)
}

// A reader that got no turn before the deadline loses nothing.
func TestReadAll_ReadsWhatIsThereAfterItsDeadline(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close() // after readAll: somebody holds the other end
	want := strings.Repeat("x", 60<<10)
	if _, err := w.WriteString(want); err != nil {
		t.Fatal(err)
	}
	if err := r.SetReadDeadline(time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	readAll(&got, r)
	if got.String() != want {
		t.Errorf("%d bytes of %d", got.Len(), len(want))
	}
}

func TestHandler_StartsNothingOnceItsContextHasEnded(t *testing.T) {
	t.Parallel()
	made := t.TempDir() + "/made"
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errStop)
	_, err := shell(t, "touch "+made).Handle(ctx, claimed(t, "Hello World"))
	if !errors.Is(err, errStop) || application.FailureOf(err).Permanent {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(made); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it ran: %v", err)
	}
}
