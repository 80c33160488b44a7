// Package programs builds Millrace's programs and runs them as processes, for
// tests and the benchmark of the whole.
package programs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Patience bounds the wait for what comes true at some time: only a hang takes longer.
const Patience = 2 * time.Minute

// dir is where the programs are, once Build has built them.
var dir string

// Main builds the programs and the Go example, runs the tests and removes the
// programs again. Call it from TestMain with the exit code as its result.
func Main(m *testing.M) int {
	code, err := buildAndRun(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

func buildAndRun(m *testing.M) (int, error) {
	remove, err := Build(context.Background(), "cmd/api", "cmd/worker", "cmd/millrace", "examples/count")
	if err != nil {
		return 0, err
	}
	defer remove()
	return m.Run(), nil
}

// Build builds the packages, which are named by their folders, for Path and Start.
// The returned function removes the programs again.
func Build(ctx context.Context, folders ...string) (remove func(), err error) {
	into, err := os.MkdirTemp("", "millrace-programs-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the programs: %w", err)
	}
	dir = into
	args := []string{"build", "-o", dir}
	for _, folder := range folders {
		args = append(args, "github.com/millrace/millrace/"+folder)
	}
	if out, err := exec.CommandContext(ctx, "go", args...).CombinedOutput(); err != nil {
		_ = os.RemoveAll(dir)
		return nil, fmt.Errorf("build the programs: %w\n%s", err, out)
	}
	return func() { _ = os.RemoveAll(into) }, nil
}

// Path is where the program of that name is.
func Path(name string) string { return filepath.Join(dir, name) }

// Process is a running program. A method that fails fails the test.
type Process struct {
	t    testing.TB
	cmd  *exec.Cmd
	out  output
	done chan struct{}
}

// output collects what a process prints; it may be read meanwhile.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// Start runs a program in the folder, with nothing in its environment but env
// and PATH. It is killed at the end of the test, and the end of its output shown
// if the test failed.
func Start(t testing.TB, folder string, env []string, name string, args ...string) *Process {
	t.Helper()
	return StartFile(t, folder, env, Path(name), args...)
}

// StartFile is Start for a program that Build has not built.
func StartFile(t testing.TB, folder string, env []string, file string, args ...string) *Process {
	t.Helper()
	p := &Process{t: t}
	p.start(folder, env, &p.out, file, args...)
	return p
}

// StartTo is Start with standard output and standard error being the given file.
func StartTo(t testing.TB, to *os.File, folder string, env []string, name string, args ...string) *Process {
	t.Helper()
	p := &Process{t: t}
	p.start(folder, env, to, Path(name), args...)
	return p
}

func (p *Process) start(folder string, env []string, to io.Writer, file string, args ...string) {
	p.t.Helper()
	p.cmd, p.done = exec.CommandContext(context.Background(), file, args...), make(chan struct{})
	p.cmd.Dir = folder
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, env...)
	p.cmd.Stdout, p.cmd.Stderr = to, to
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C that stops the tests does not reach it
	if err := p.cmd.Start(); err != nil {
		p.t.Fatalf("start %s: %v", file, err)
	}
	go func() {
		_ = p.cmd.Wait() // the exit code is read later
		close(p.done)
	}()
	p.t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.done
		if p.t.Failed() {
			p.t.Logf("output of %s:\n%s", file, tail(p.out.String(), 60))
		}
	})
}

// Signal sends sig.
func (p *Process) Signal(sig os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Fatalf("send %v: %v", sig, err)
	}
}

// Wait waits for the end and returns the exit code.
func (p *Process) Wait(atMost time.Duration) int {
	p.t.Helper()
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(atMost):
		p.t.Fatalf("%s did not end within %s", p.cmd.Path, atMost)
		return -1
	}
}

// Stop asks the process to end and expects that it does so with code 0.
func (p *Process) Stop() {
	p.t.Helper()
	p.Signal(syscall.SIGTERM)
	if code := p.Wait(Patience); code != 0 {
		p.t.Fatalf("%s ended with code %d, not 0", p.cmd.Path, code)
	}
}

// PID is the process's id, also of one that has ended.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Output is all that the process has printed so far.
func (p *Process) Output() string { return p.out.String() }

// Alive reports whether the process has not ended.
func (p *Process) Alive() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Kill ends the process at once.
func (p *Process) Kill() {
	p.t.Helper()
	p.Signal(syscall.SIGKILL)
	<-p.done
}

// Eventually waits until ok holds.
func Eventually(t testing.TB, atMost time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(atMost); ; time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", atMost, what)
		}
	}
}

// FreeAddr is a free address on loopback.
func FreeAddr(t testing.TB) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("find a free port: %v", err)
	}
	defer l.Close()
	return l.Addr().String()
}

// WaitReady waits until the program on addr says that it is ready.
func WaitReady(t testing.TB, addr string) {
	t.Helper()
	Eventually(t, Patience, "ready on "+addr, func() bool {
		res, err := http.Get("http://" + addr + "/readyz")
		if err != nil {
			return false
		}
		defer res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
}

func tail(s string, lines int) string {
	all := strings.Split(s, "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
