package e2e

import (
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/millrace/millrace/test/programs"
)

// embedTo starts millrace serve with everything that it prints going to the file.
func embedTo(t *testing.T, to *os.File, env ...string) *deployment {
	t.Helper()
	d := &deployment{t: t, addr: programs.FreeAddr(t)}
	d.api = programs.StartTo(t, to, t.TempDir(), append([]string{"LISTEN_ADDR=" + d.addr}, env...), "millrace", "serve")
	d.ready()
	return d
}

// pipe makes a pipe, whose ends are closed after the test.
func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close(); _ = w.Close() })
	return r, w
}

// completeAll submits n tasks whose messages fill a log, and waits until all are completed.
func (d *deployment) completeAll(n int) {
	d.t.Helper()
	for i := range n {
		d.submit(fmt.Sprintf("task %d %s", i, strings.Repeat("x", 10<<10)))
	}
	programs.Eventually(d.t, programs.Patience, "all tasks are completed", func() bool { return d.count("completed") == n })
}

func TestProgram_LivesOnWhenNobodyReadsItsLog(t *testing.T) {
	t.Parallel()
	gone, to := pipe(t)
	_ = gone.Close()
	d := embedTo(t, to)
	d.completeAll(20)
	d.api.Stop()
}

// The pipe holds 64 KiB, and the log of the tasks is 2 MB.
func TestProgram_DoesNotWaitForASlowReaderOfItsLog(t *testing.T) {
	t.Parallel()
	r, to := pipe(t)
	d := embedTo(t, to)
	d.completeAll(200)
	begun := time.Now()
	d.api.Signal(syscall.SIGTERM)
	if code := d.api.Wait(programs.Patience); code != 0 || time.Since(begun) > 10*time.Second {
		t.Errorf("it ended with %d after %s", code, time.Since(begun))
	}
	_ = r.Close()
}

func TestProgram_SaysHowManyLinesOfItsLogWereDropped(t *testing.T) {
	t.Parallel()
	r, to := pipe(t)
	d := embedTo(t, to)
	d.completeAll(200)
	told := make(chan bool)
	go func() {
		var text strings.Builder
		buf := make([]byte, 64<<10)
		for {
			n, err := r.Read(buf)
			text.Write(buf[:n])
			if strings.Contains(text.String(), "log lines were dropped") {
				told <- true
				return
			}
			if err != nil {
				told <- false
				return
			}
		}
	}()
	select {
	case ok := <-told:
		if !ok {
			t.Error("the log ended without a word")
		}
	case <-time.After(programs.Patience):
		t.Error("the log does not say that lines were dropped")
	}
}

// A terminal that closes sends SIGHUP, and its shell does so once more.
func TestProgram_StopsOnHangupUnlessItIsIgnored(t *testing.T) {
	t.Parallel()
	// A program inherits from nohup that it ignores SIGHUP, and not that this test handles it.
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	d := embed(t, t.TempDir(), "HANDLER=sleep:2s")
	running := d.submit("running").ID
	d.becomes(running, "processing")
	d.api.Signal(syscall.SIGHUP)
	time.Sleep(100 * time.Millisecond)
	d.api.Signal(syscall.SIGHUP)
	if code := d.api.Wait(programs.Patience); code != 0 {
		t.Errorf("it ended with %d", code)
	}

	n := &deployment{t: t, addr: programs.FreeAddr(t)}
	n.api = programs.StartFile(t, t.TempDir(), []string{"LISTEN_ADDR=" + n.addr}, "/usr/bin/nohup", programs.Path("millrace"), "serve")
	n.ready()
	n.api.Signal(syscall.SIGHUP)
	n.becomes(n.submit("after the hangup").ID, "completed")
	n.api.Stop()
}
