package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/adapters/internal/shortage"
)

// drainWait is how long the pipes may stay open after the whole group was killed: a
// process that has left the group may hold them for ever.
const drainWait = 250 * time.Millisecond

// maxPipe is the most that a pipe holds, unless root has raised the limit.
const maxPipe = 1 << 20

// supported reports that programs can be run, and their groups killed, on this system.
func supported() error { return nil }

// prepare makes this process ready for programs, once: it and its guard have the threads
// that they need before programs take the room for them.
var prepare = sync.OnceFunc(func() {
	makeSpareThreads()
	_ = theChildren().guard.ensure() // the start of a program tries again
})

// process is a running program and its process group, whose id is the program's. The id
// is not reused until end has collected the exit code, so no signal reaches another
// process.
type process struct {
	cmd    *exec.Cmd
	pipes  []*os.File    // the ends that this process reads
	exited chan struct{} // closed when the program has ended; its exit code is not collected yet
	read   chan struct{} // closed when the pipes are read to their end
}

// start starts the program with its output going to stdout and stderr, each of
// which is written to until end has returned.
func start(cmd *exec.Cmd, stdout, stderr io.Writer) (*process, error) {
	p := &process{cmd: cmd, exited: make(chan struct{}), read: make(chan struct{})}
	var theirs []*os.File
	closeTheirs := func() {
		for _, f := range theirs {
			_ = f.Close()
		}
	}
	for range 2 {
		r, w, err := pipe()
		if err != nil {
			closeTheirs()
			p.closePipes()
			return nil, fmt.Errorf("make a pipe: %w", err)
		}
		p.pipes, theirs = append(p.pipes, r), append(theirs, w)
	}
	cmd.Stdout, cmd.Stderr = theirs[0], theirs[1]
	cmd.WaitDelay = drainWait // for standard input, which a process outside the group may hold unread
	err := theChildren().start(cmd)
	closeTheirs()
	if err != nil {
		p.closePipes()
		return nil, err
	}
	var readers sync.WaitGroup
	for i, to := range []io.Writer{stdout, stderr} {
		readers.Go(func() { readAll(to, p.pipes[i]) })
	}
	go func() { readers.Wait(); close(p.read) }()
	go func() { p.waitForExit(); close(p.exited) }()
	return p, nil
}

// pipe makes a pipe, unless that would take the last descriptors.
func pipe() (r, w *os.File, err error) {
	if r, w, err = os.Pipe(); err != nil {
		return nil, nil, err
	}
	raw, err := w.SyscallConn()
	if err == nil {
		var last error
		err = raw.Control(func(fd uintptr) { last = shortage.Descriptor(fd) })
		err = errors.Join(err, last)
	}
	if err != nil {
		return nil, nil, errors.Join(err, r.Close(), w.Close())
	}
	return r, w, nil
}

// readAll reads the pipe until its other end is closed everywhere. At the deadline it
// reads what is in the pipe: all that the program wrote before it ended.
func readAll(to io.Writer, pipe *os.File) {
	if _, err := io.Copy(to, pipe); !errors.Is(err, os.ErrDeadlineExceeded) {
		return
	}
	raw, err := pipe.SyscallConn()
	if err != nil || pipe.SetReadDeadline(time.Time{}) != nil {
		return
	}
	buf := make([]byte, 32<<10)
	_ = raw.Read(func(fd uintptr) bool {
		for range maxPipe / len(buf) {
			n, err := unix.Read(int(fd), buf) // does not block
			if err != nil || n <= 0 {
				break
			}
			_, _ = to.Write(buf[:n]) // head and tail never fail
		}
		return true
	})
}

// waitForExit returns when the program has ended. It does not collect the exit code, and
// holds no thread meanwhile: the runtime polls a descriptor of the process. A kernel
// before 5.10 has none to poll.
func (p *process) waitForExit() {
	fd, err := unix.PidfdOpen(p.cmd.Process.Pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		_, _ = p.hasExited(0)
		return
	}
	file := os.NewFile(uintptr(fd), "pidfd")
	defer func() { _ = file.Close() }() // nothing was written
	raw, err := file.SyscallConn()
	if err == nil {
		err = raw.Read(func(uintptr) bool {
			ended, err := p.hasExited(unix.WNOHANG)
			return ended || err != nil
		})
	}
	if err != nil { // it cannot be polled
		_, _ = p.hasExited(0)
	}
}

// hasExited reports whether the program has ended; without WNOHANG it waits for that.
func (p *process) hasExited(options int) (bool, error) {
	for {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PID, p.cmd.Process.Pid, &info, unix.WEXITED|unix.WNOWAIT|options, nil)
		if !errors.Is(err, unix.EINTR) {
			return info.Signo != 0, err
		}
	}
}

// waitOrStop waits until the program has ended. If ctx ends before, it sends SIGTERM to
// the group, waits at most the grace for the program and for children that still write,
// and returns true.
func (p *process) waitOrStop(ctx context.Context, grace time.Duration) (stopped bool) {
	select {
	case <-p.exited:
		return false
	case <-ctx.Done():
	}
	p.signal(syscall.SIGTERM)
	timer := time.NewTimer(grace)
	defer timer.Stop()
	for _, done := range []chan struct{}{p.exited, p.read} {
		select {
		case <-done:
		case <-timer.C:
			return true
		}
	}
	return true
}

// end kills the rest of the group, reads the rest of the output, and returns how the
// program ended: nil, or an *exec.ExitError.
func (p *process) end() error {
	p.signal(syscall.SIGKILL)
	<-p.exited
	timer := time.NewTimer(drainWait)
	defer timer.Stop()
	select {
	case <-p.read:
	case <-timer.C:
		for _, f := range p.pipes {
			_ = f.SetReadDeadline(time.Now())
		}
		<-p.read
	}
	p.closePipes()
	err := theChildren().collect(p.cmd)
	if errors.Is(err, exec.ErrWaitDelay) {
		return nil // exit code 0; standard input was not read
	}
	return err
}

// signal signals the group. It is no error if only the ended program is left in it.
func (p *process) signal(sig syscall.Signal) { _ = syscall.Kill(-p.cmd.Process.Pid, sig) }

func (p *process) closePipes() {
	for _, f := range p.pipes {
		_ = f.Close() // only read from
	}
}
