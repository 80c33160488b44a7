//go:build linux

package command

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/domain"
)

// roles are what this executable does for a test that needs a process of its own. They
// print what they have found, and fail by a panic.
var roles = map[string]func(){
	"worker":  func() { runScript(`sleep 600 & echo pid $$ pid $! >/dev/fd/3; wait`); select {} },
	"threads": countThreads,
	"init":    inheritOrphans,
	"crowd":   crowd,
	"limited": showLimits,
}

const roleVariable = "MILLRACE_TEST_ROLE"

// startRole starts a process in the role; it is killed at the end of the test.
func startRole(t *testing.T, name string) (*exec.Cmd, *bufio.Reader) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(context.Background(), "/proc/self/exe", "-test.run=^$")
	cmd.Env = append(os.Environ(), roleVariable+"="+name)
	cmd.ExtraFiles = []*os.File{w}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = r.Close()
	})
	return cmd, bufio.NewReader(r)
}

// readLine reads a line of what a role prints.
func readLine(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	line, err := r.ReadString('\n')
	if err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	return strings.TrimSpace(line)
}

// say prints for readLine, on descriptor 3.
func say(format string, args ...any) { fmt.Fprintf(os.NewFile(3, "found"), format+"\n", args...) }

func newTask() *domain.Task {
	task, err := domain.NewTask(domain.TaskSpec{Message: "Hello World", MaxAttempts: new(3)}, time.Now())
	if err != nil {
		panic(err)
	}
	return task
}

// runScript runs the script as a program; its descriptor 3 is the role's.
func runScript(script string) {
	script = fmt.Sprintf("exec 3>/proc/%d/fd/3; ", os.Getpid()) + script
	h, err := New(Config{Path: "/bin/sh", Args: []string{"-c", script}, Env: []string{"PATH=/usr/bin:/bin"}})
	if err != nil {
		panic(err)
	}
	if _, err := h.Handle(context.Background(), newTask()); err != nil {
		panic(err)
	}
}

// countThreads counts its threads while many programs run.
func countThreads() {
	const programs = 200
	ctx, stop := context.WithCancel(context.Background())
	h, err := New(Config{Path: "/bin/sleep", Args: []string{"600"}})
	if err != nil {
		panic(err)
	}
	var all sync.WaitGroup
	for range programs {
		all.Go(func() { _, _ = h.Handle(ctx, newTask()) })
	}
	for {
		c := theChildren()
		c.mu.Lock()
		n := len(c.own)
		c.mu.Unlock()
		if n == programs {
			break
		}
		time.Sleep(time.Millisecond)
	}
	time.Sleep(100 * time.Millisecond)
	threads, err := os.ReadDir("/proc/self/task")
	say("%d %v", len(threads), err)
	stop()
	all.Wait()
}

// inheritOrphans is a process to which orphans go, as the first one of a container is,
// and counts the zombies that it has after its programs have left some.
func inheritOrphans() {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		panic(err)
	}
	for range 20 {
		runScript(`(setsid sh -c 'sleep 0.05' & sleep 0.01 &) & wait`)
	}
	zombies, running := childrenByState()
	for end := time.Now().Add(10 * time.Second); zombies+running > 1 && time.Now().Before(end); zombies, running = childrenByState() {
		time.Sleep(20 * time.Millisecond)
	}
	say("%d", zombies)
}

// childrenByState counts the children of this process, which has the guard as well.
func childrenByState() (zombies, running int) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		panic(err)
	}
	for _, name := range stats {
		stat, _ := os.ReadFile(name) // it may have ended
		_, rest, _ := strings.Cut(string(stat), ") ")
		var state string
		var parent int
		if n, _ := fmt.Sscan(rest, &state, &parent); n != 2 || parent != os.Getpid() {
			continue
		}
		if state == "Z" {
			zombies++
		} else {
			running++
		}
	}
	return zombies, running
}

// The guard needs a moment: it is another process.
func TestHandler_ProgramsEndWithAProcessThatIsKilled(t *testing.T) {
	t.Parallel()
	worker, found := startRole(t, "worker")
	all := pids(t, readLine(t, found), 2)
	if err := worker.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = worker.Wait()
	for _, pid := range all {
		wantKilled(t, pid)
	}
}

func TestKillAtEnd_KillsTheGroupsThatAreLeft(t *testing.T) {
	t.Parallel()
	g := guard{groups: map[int]bool{}}
	start := func() *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", "sleep 600 & wait")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	ended, left, late := start(), start(), start()
	if err := g.ensure(); err != nil {
		t.Fatal(err)
	}
	g.add(ended.Process.Pid)
	g.add(left.Process.Pid)
	_ = g.process.Kill() // the next one knows all groups
	_, _ = g.process.Wait()
	g.add(late.Process.Pid)
	g.remove(ended.Process.Pid)
	_ = g.to.Close()
	_, _ = g.process.Wait()
	if err := syscall.Kill(-ended.Process.Pid, 0); err != nil {
		t.Errorf("a group that was removed: %v", err)
	}
	_ = syscall.Kill(-ended.Process.Pid, syscall.SIGKILL)
	for _, cmd := range []*exec.Cmd{ended, left, late} {
		if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
			t.Errorf("it ended with %v", err)
		}
	}
}

func TestHandler_HoldsNoThreadForARunningProgram(t *testing.T) {
	t.Parallel()
	_, found := startRole(t, "threads")
	var threads int
	if _, err := fmt.Sscanf(readLine(t, found), "%d <nil>", &threads); err != nil || threads > 30 {
		t.Errorf("%d threads for 200 programs, error %v", threads, err)
	}
}

func TestHandler_CollectsWhatItInherits(t *testing.T) {
	t.Parallel()
	_, found := startRole(t, "init")
	if zombies := readLine(t, found); zombies != "0" {
		t.Errorf("%s zombies", zombies)
	}
}
