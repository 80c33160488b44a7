package command

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The Go runtime ends the process when it needs a thread and gets none, and a thread
// counts as a process does. So programs do not get the last ones that a user or a control
// group may have, and this process makes some of the threads that it will need before it
// runs a program: the runtime keeps those that it has made.

const (
	// spareThreads are made at the start.
	spareThreads = 6
	// ownProcesses are the threads of this process and of its guard, after the start.
	ownProcesses = 16
	// reserve is how many more are left to this process, for its store and its API; where
	// there are few in all, a quarter of what is not its own already.
	reserve = 16
	// threadWait is for how long no program is started once there was no room for one. The
	// runtime asks for a thread every 20 ms at most, and this long it finds the reserve.
	threadWait = 25 * time.Millisecond
)

// usable is how many of all processes there may be when a program starts.
func usable(all uint64) uint64 {
	others := all - min(all, ownProcesses)
	return all - min(all, reserve, max(1, others/4))
}

// makeSpareThreads makes the runtime have threads that have nothing to do.
func makeSpareThreads() {
	var here, ended sync.WaitGroup
	here.Add(spareThreads)
	for range spareThreads {
		ended.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			here.Done()
			here.Wait() // this thread is taken, so each of the others needs its own
		})
	}
	ended.Wait()
}

// withLess calls start with a limit of the user's processes that leaves the reserve. The
// program inherits the limit, so its children leave the reserve too. The runtime, which
// may need a thread meanwhile, tries again for 200 ms before it gives up.
func withLess(start func() error) error {
	var all unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NPROC, &all) != nil || all.Cur == unix.RLIM_INFINITY {
		return start()
	}
	less := unix.Rlimit{Cur: usable(all.Cur), Max: all.Max}
	if unix.Setrlimit(unix.RLIMIT_NPROC, &less) == nil {
		defer func() { _ = unix.Setrlimit(unix.RLIMIT_NPROC, &all) }() // up to Max it is allowed
	}
	return start()
}

// pidsGroups are the folders of the control groups that limit the processes of this one.
var pidsGroups = sync.OnceValue(func() []string {
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil
	}
	var limited []string
	for line := range strings.Lines(string(text)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 || fields[1] != "" && fields[1] != "pids" {
			continue
		}
		root := filepath.Join("/sys/fs/cgroup", fields[1])
		for _, dir := range []string{filepath.Join(root, fields[2]), root} {
			if _, ok := readCount(dir, "pids.max"); ok {
				limited = append(limited, dir)
			}
		}
	}
	return limited
})

// roomIn returns EAGAIN if only the reserve of one of the control groups is left.
func roomIn(groups []string) error {
	for _, dir := range groups {
		all, limited := readCount(dir, "pids.max")
		now, known := readCount(dir, "pids.current")
		if limited && known && now >= usable(all) {
			return syscall.EAGAIN
		}
	}
	return nil
}

// readCount reads a number from a file; not ok if it holds none, but max.
func readCount(dir, name string) (n uint64, ok bool) {
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return 0, false
	}
	n, err = strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	return n, err == nil
}
