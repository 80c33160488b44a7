package e2e

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/millrace/millrace/test/programs"
)

// alive reports whether the process runs; a zombie does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z")
}

// The program of a task, and what it has started, end with the process that runs it,
// however that dies.
func TestMillrace_TakesItsProgramsWithIt(t *testing.T) {
	t.Parallel()
	for _, death := range []syscall.Signal{syscall.SIGKILL, syscall.SIGQUIT, syscall.SIGABRT} {
		file := t.TempDir() + "/pids"
		script := "sleep 600 & echo $$ $! > " + file + ".new; mv " + file + ".new " + file + "; wait"
		d := embed(t, t.TempDir(), `HANDLER=exec:sh -c "`+strings.ReplaceAll(script, "$", `\$`)+`"`)
		d.submit("runs for long")
		var text []byte
		programs.Eventually(t, programs.Patience, "the program runs", func() bool {
			var err error
			text, err = os.ReadFile(file)
			return err == nil
		})
		d.api.Signal(death)
		d.api.Wait(programs.Patience)
		for field := range strings.FieldsSeq(string(text)) {
			pid, err := strconv.Atoi(field)
			if err != nil {
				t.Fatalf("%q: %v", text, err)
			}
			programs.Eventually(t, programs.Patience, "the processes of the program end", func() bool { return !alive(pid) })
		}
	}
}
