//go:build linux

package command

import (
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/test/contract"
)

func TestMain(m *testing.M) {
	if role, ok := roles[os.Getenv(roleVariable)]; ok {
		role()
		return
	}
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/millrace/millrace/adapters/command.(*children).serveStarts"))
}

// scripts do what the suite names. A program has no words for "after so many
// seconds", and none of its panics is the worker's.
var scripts = map[contract.Behaviour]string{
	contract.Echoes:      `exec cat`,
	contract.Names:       `echo "$MILLRACE_TASK_ID $MILLRACE_ATTEMPT"`,
	contract.Fails:       `echo "` + contract.HandlerReason + `" >&2; exit 75`,
	contract.FailsAtOnce: `echo "` + contract.HandlerReason + `" >&2; exit 65`,
	contract.Hangs:       `trap '' HUP INT TERM; while :; do sleep 60; done`,
	contract.Floods:      `head -c 10485760 /dev/zero | tr '\000' x`,
	contract.Garbles:     `printf 'before \000 \377\376 \303( after'`,
	contract.Rants:       `yes "$(printf 'before ? \377\376 \303( after')" | head -c 10485760 | tr '?' '\000' >&2; exit 1`,
}

func TestHandler_KeepsThePort(t *testing.T) {
	t.Parallel()
	contract.Handler(t, func(t *testing.T, b contract.Behaviour) application.Handler {
		if b == contract.Lacks {
			h := shell(t, "exit 0")
			h.start = func(cmd *exec.Cmd, _, _ io.Writer) (*process, error) {
				return nil, &os.PathError{Op: "fork/exec", Path: cmd.Path, Err: syscall.EAGAIN}
			}
			return h
		}
		script, ok := scripts[b]
		if !ok {
			t.Fatalf("no script for %s", b)
		}
		return shell(t, script)
	}, contract.Postpones, contract.Panics)
}

// shell makes a handler that runs the script, with a grace that is too short to
// wait for in vain.
func shell(t *testing.T, script string) *Handler {
	t.Helper()
	h, err := New(Config{Path: "/bin/sh", Args: []string{"-c", script}, Env: []string{"PATH=/usr/bin:/bin"}, Grace: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return h
}
