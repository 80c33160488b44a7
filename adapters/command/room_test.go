//go:build linux

package command

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/application"
)

// crowd runs more programs than the user may have processes, and then needs threads.
func crowd() {
	limitProcesses(60)
	h, err := New(Config{Path: "/bin/sleep", Args: []string{"600"}})
	if err != nil {
		panic(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	full := make(chan error, 100)
	var all sync.WaitGroup
	for range cap(full) {
		all.Go(func() {
			if _, err := h.Handle(ctx, newTask()); ctx.Err() == nil {
				full <- err
			}
		})
	}
	if err := <-full; !application.IsNotStarted(err) || !errors.Is(err, syscall.EAGAIN) {
		panic(err)
	}
	takeThreads(8)
	stop()
	all.Wait()
	say("alive")
}

// takeThreads holds so many threads at the same time.
func takeThreads(n int) {
	var here, ended sync.WaitGroup
	here.Add(n)
	for range n {
		ended.Go(func() {
			runtime.LockOSThread()
			here.Done()
			here.Wait()
			time.Sleep(time.Second / 2)
			runtime.UnlockOSThread()
		})
	}
	ended.Wait()
}

// limitProcesses lets the user have so many processes besides those of others. Root has no
// limit, so it becomes a user of its own.
func limitProcesses(n uint64) {
	if os.Geteuid() != 0 {
		n += processesOf(os.Geteuid())
	}
	if err := unix.Setrlimit(unix.RLIMIT_NPROC, &unix.Rlimit{Cur: n, Max: n}); err != nil {
		panic(err)
	}
	if os.Geteuid() == 0 {
		if err := syscall.Setuid(1<<20 + os.Getpid()); err != nil {
			panic(err)
		}
	}
}

// processesOf counts the threads of the user.
func processesOf(user int) (n uint64) {
	folders, _ := filepath.Glob("/proc/[0-9]*/task/[0-9]*")
	for _, f := range folders {
		if info, err := os.Stat(f); err == nil && info.Sys().(*syscall.Stat_t).Uid == uint32(user) {
			n++
		}
	}
	return n
}

func TestHandler_LeavesThreadsToTheProcessAtALimitOfProcesses(t *testing.T) {
	t.Parallel()
	_, found := startRole(t, "crowd")
	if got := readLine(t, found); got != "alive" {
		t.Error(got)
	}
}

// A program inherits a limit that leaves the reserve, so its children cannot take it.
func TestHandler_LetsChildrenOfProgramsLeaveTheReserve(t *testing.T) {
	t.Parallel()
	_, found := startRole(t, "limited")
	if got := readLine(t, found); got != "Max processes 9984 10000 processes; then 10000" {
		t.Error(got)
	}
}

func showLimits() {
	if err := unix.Setrlimit(unix.RLIMIT_NPROC, &unix.Rlimit{Cur: 10_000, Max: 10_000}); err != nil {
		panic(err)
	}
	h, err := New(Config{Path: "/bin/grep", Args: []string{"processes", "/proc/self/limits"}})
	if err != nil {
		panic(err)
	}
	result, err := h.Handle(context.Background(), newTask())
	if err != nil {
		panic(err)
	}
	var after unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NPROC, &after); err != nil {
		panic(err)
	}
	say("%s; then %d", strings.Join(strings.Fields(result), " "), after.Cur)
}

func TestRoomIn_LeavesTheReserveOfAControlGroup(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		max, current string
		want         error
	}{
		{"max", "5000", nil}, {"1000", "983", nil}, {"1000", "984", syscall.EAGAIN}, {"1000", "1001", syscall.EAGAIN},
		{"32", "27", nil}, {"32", "28", syscall.EAGAIN}, {"16", "14", nil}, {"16", "15", syscall.EAGAIN}, {"1", "0", syscall.EAGAIN}, {"0", "0", syscall.EAGAIN},
		{"1000", "", nil}, {"", "5000", nil},
	} {
		roomy, dir := t.TempDir(), t.TempDir()
		write(t, roomy, "pids.max", "1000")
		write(t, roomy, "pids.current", "1")
		write(t, dir, "pids.max", c.max)
		write(t, dir, "pids.current", c.current)
		if err := roomIn([]string{roomy, dir}); !errors.Is(err, c.want) {
			t.Errorf("%q of %q: error %v", c.current, c.max, err)
		}
	}
}

// write writes the file as the kernel does; none for no text.
func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if text == "" {
		return
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}
