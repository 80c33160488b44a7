package command

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// children are the programs that this process runs, of all its handlers: the guard, and
// the children that nobody waits for, are the process's.
type children struct {
	guard  guard
	starts chan func()

	mu   sync.Mutex
	own  map[int]bool // running, or not collected yet
	init bool         // this process inherits the children of others
}

// theChildren returns the children of this process.
var theChildren = sync.OnceValue(func() *children {
	c := &children{guard: guard{groups: map[int]bool{}}, starts: make(chan func()), own: map[int]bool{}, init: inherits()}
	go c.serveStarts()
	if c.init {
		go c.reapAlways()
	}
	return c
})

// serveStarts starts the programs on a thread of its own, which lives as long as the
// process: the kernel sends a program its Pdeathsig when the thread that started it ends.
func (c *children) serveStarts() {
	runtime.LockOSThread()
	for start := range c.starts {
		start()
	}
}

// start starts the program in a group of its own, which ends with this process. It fails
// where there is no room but for this process.
func (c *children) start(cmd *exec.Cmd) error {
	if err := c.guard.ensure(); err != nil {
		return err
	}
	if err := roomIn(pidsGroups()); err != nil {
		return err
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	c.starts <- func() {
		c.mu.Lock() // reap finds it among the own children, or not at all
		err := withLess(cmd.Start)
		if err == nil {
			c.own[cmd.Process.Pid] = true
		}
		c.mu.Unlock()
		switch {
		case err == nil:
			c.guard.add(cmd.Process.Pid) // at once: until then nobody would end its children
		case errors.Is(err, syscall.EAGAIN):
			time.Sleep(threadWait) // the runtime may need a thread, and gets none while withLess starts programs
		}
		started <- err
	}
	return <-started
}

// collect collects the exit code of a program that has ended, and whose group has.
func (c *children) collect(cmd *exec.Cmd) error {
	pid := cmd.Process.Pid
	c.guard.remove(pid)
	err := cmd.Wait()
	c.mu.Lock()
	delete(c.own, pid)
	c.mu.Unlock()
	if c.init {
		c.reap()
	}
	return err
}

// inherits reports whether orphans become children of this process: it is the first one
// of a container, or has asked for them.
func inherits() bool {
	var subreaper int32
	err := unix.Prctl(unix.PR_GET_CHILD_SUBREAPER, uintptr(unsafe.Pointer(&subreaper)), 0, 0, 0)
	return os.Getpid() == 1 || err == nil && subreaper != 0
}

// reapAlways collects orphans as they end.
func (c *children) reapAlways() {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, unix.SIGCHLD)
	c.reap()
	for range ended {
		c.reap()
	}
}

// reap collects every ended child that is not the process's own. The kernel shows them
// one by one, so behind an own child there may be others: collect calls reap again.
func (c *children) reap() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		pid, err := endedChild()
		if err != nil || pid == 0 || c.own[pid] {
			return
		}
		_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
	}
}

// endedChild returns a child that has ended and is not collected, or 0.
func endedChild() (int, error) {
	// siginfo_t for SIGCHLD: three numbers, then, aligned as a pointer is, the process.
	var info struct {
		signo, errno, code int32
		_                  [0]uintptr
		pid                int32
		_                  [128]byte
	}
	for {
		err := unix.Waitid(unix.P_ALL, 0, (*unix.Siginfo)(unsafe.Pointer(&info)), unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return int(info.pid), err
		}
	}
}
