package services

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// announceScript tells the janitor of a server before it becomes the server: $1
// is the signal that ends it, $2 the file to write. Once the janitor has moved the
// folder of that file away, no server starts any more.
const announceScript = `echo "$1 $$" >"$2" && shift 2 && exec "$@"`

// errPortTaken reports that another process uses the port.
var errPortTaken = errors.New("the port is taken")

// process is a server, or a program that prepares one. No goroutine waits for it in the
// background, so that tests which count goroutines find none of this package.
type process struct {
	pid     int
	log     string
	pidFile string
	cmd     *exec.Cmd
	reaped  bool
}

// start starts a program in dir, with no variables of the test's environment
// that could lead it elsewhere.
func (w *workspace) start(dir, signal, bin string, args ...string) (*process, error) {
	id := strconv.Itoa(w.next())
	p := &process{pidFile: filepath.Join(w.pids(), id), log: filepath.Join(dir, id+".log")}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd = exec.Command("/bin/sh", append([]string{"-c", announceScript, "sh", signal, p.pidFile, bin}, args...)...)
	p.cmd.Dir = dir
	p.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: w.owner}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", bin, err)
	}
	p.pid = p.cmd.Process.Pid
	return p, nil
}

// gone reports whether the process has ended. The system does not reuse its id before
// gone has reported that once.
func (p *process) gone() bool {
	if p.reaped {
		return true
	}
	pid, err := syscall.Wait4(p.pid, nil, syscall.WNOHANG, nil)
	if pid == p.pid || errors.Is(err, syscall.ECHILD) {
		p.reaped = true
		_ = p.cmd.Process.Release() // nothing that can fail is left to do
		_ = os.Remove(p.pidFile)    // the janitor only finds nobody there
	}
	return p.reaped
}

// signal signals the process, if it is still there.
func (p *process) signal(signal syscall.Signal) error {
	if p.gone() {
		return nil
	}
	return syscall.Kill(p.pid, signal)
}

// end signals the process and waits until it is gone.
func (p *process) end(signal syscall.Signal) error {
	if err := p.signal(signal); err != nil {
		return err
	}
	return await(func() (bool, error) { return p.gone(), nil })
}

// failure is why the process has ended: the end of its log.
func (p *process) failure() error {
	log, err := os.ReadFile(p.log)
	if err != nil {
		return err
	}
	text := strings.TrimSpace(string(log))
	err = fmt.Errorf("%s has ended: %s", p.cmd.Args[6], text[max(0, len(text)-2000):])
	if strings.Contains(text, "Address already in use") {
		return fmt.Errorf("%w: %w", errPortTaken, err)
	}
	return err
}

// patience bounds the wait for a server or a program: only a hang takes longer.
const patience = 3 * time.Minute

// await polls done until it returns true or fails.
func await(done func() (bool, error)) error {
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		if ok, err := done(); ok || err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("nothing after %v", patience)
		}
	}
}

// freePort finds an unused port. It is below those that systems use for outgoing
// connections, so a server that stops for a while gets it back.
func freePort() int {
	for {
		port := 20000 + rand.IntN(12000)
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			continue
		}
		_ = l.Close() // it was only asked whether it can be had
		return port
	}
}

// onFreePort calls start with free ports until one is not taken in the meantime.
func onFreePort(start func(port int) error) error {
	for tries := 1; ; tries++ {
		if err := start(freePort()); tries == 10 || !errors.Is(err, errPortTaken) {
			return err
		}
	}
}
