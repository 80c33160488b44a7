package command

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/millrace/millrace/adapters/internal/shortage"
)

// A guard is a process that ends the programs when the process that runs them has died,
// however it died: nobody else can signal what is left of their groups. It is this
// executable under another name, in a session of its own, and reads from a pipe which
// groups there are. The end of the pipe is the death of the other process.

// guardName is the name that makes this executable a guard.
const guardName = "millrace-guard"

// guardPatience bounds a write to the guard.
const guardPatience = time.Second

// It runs before main, so that every program with this package can be a guard.
func init() {
	if len(os.Args) == 1 && os.Args[0] == guardName {
		signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
		killAtEnd(os.Stdin)
		os.Exit(0)
	}
}

// killAtEnd reads the ids of groups, negative ones for groups that have ended, and kills
// those that are left at the end.
func killAtEnd(from io.Reader) {
	groups := map[int32]bool{}
	for {
		var id int32
		if binary.Read(from, binary.NativeEndian, &id) != nil {
			break
		}
		if id > 0 {
			groups[id] = true
		} else {
			delete(groups, -id)
		}
	}
	for id := range groups {
		_ = syscall.Kill(-int(id), syscall.SIGKILL)
	}
}

// guard is this process's side of its guard.
type guard struct {
	mu      sync.Mutex
	groups  map[int]bool
	to      *os.File // nil: there is no guard
	process *os.Process
}

// ensure starts the guard if there is none. It fails for want of something that there may
// be later; where there can be no guard, as without /proc, programs run without one.
func (g *guard) ensure() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.to != nil {
		return nil
	}
	if err := g.start(); shortage.Is(err) {
		return err
	}
	return nil
}

// start starts a guard that knows all groups.
func (g *guard) start() error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }() // the guard has its own
	none, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return errors.Join(err, w.Close())
	}
	defer func() { _ = none.Close() }()
	process, err := os.StartProcess("/proc/self/exe", []string{guardName}, &os.ProcAttr{
		Dir:   "/",
		Env:   []string{"GOMAXPROCS=1"},
		Files: []*os.File{r, none, none},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return errors.Join(err, w.Close())
	}
	g.to, g.process = w, process
	for id := range g.groups {
		g.write(id)
	}
	return nil
}

// write writes the id of a group. After a failure there is no guard.
func (g *guard) write(id int) {
	if g.to == nil {
		return
	}
	_ = g.to.SetWriteDeadline(time.Now().Add(guardPatience))
	if binary.Write(g.to, binary.NativeEndian, int32(id)) == nil { // ids of processes fit
		return
	}
	_ = g.to.Close()
	g.to = nil
	_ = g.process.Kill() // it may live, and not read
	_, _ = g.process.Wait()
}

// add names a group that runs. A guard that has died is replaced; the program is not held
// up if that fails, as the next one tries again.
func (g *guard) add(id int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.groups[id] = true
	g.write(id)
	if g.to == nil {
		_ = g.start()
	}
}

// remove says that a group has ended. The id must not be another's yet.
func (g *guard) remove(id int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.groups, id)
	g.write(-id)
}
