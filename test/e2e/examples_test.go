package e2e

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/millrace/millrace/test/programs"
)

// step is a block of commands in the README of the examples, and what they print
// if the next block says so: … stands for anything, and blank lines for nothing.
type step struct{ commands, prints string }

// section is a heading and the steps below it.
type section struct {
	title string
	steps []step
}

// watchExamples reads the files that others run: what a test has not opened does
// not count when go test looks for a result that it can use again.
func watchExamples(t *testing.T) {
	t.Helper()
	for _, name := range []string{"receiver.py", "shout.sh"} {
		if _, err := os.ReadFile(filepath.Join("../../examples", name)); err != nil {
			t.Fatal(err)
		}
	}
}

// readExamples reads the README of the examples.
func readExamples(t *testing.T) []section {
	t.Helper()
	text, err := os.ReadFile("../../examples/README.md")
	if err != nil {
		t.Fatal(err)
	}
	var all []section
	for _, m := range regexp.MustCompile("(?ms)^## ([^\n]+)$|^```(sh|text)\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
		title, kind, body := m[1], m[2], m[3]
		switch {
		case title != "":
			all = append(all, section{title: title})
			continue
		case len(all) == 0:
			t.Fatalf("commands before the first heading: %s", body)
		}
		s := &all[len(all)-1]
		switch {
		case kind == "sh":
			s.steps = append(s.steps, step{commands: body})
		case len(s.steps) == 0 || s.steps[len(s.steps)-1].prints != "":
			t.Fatalf("output of no commands: %s", body)
		default:
			s.steps[len(s.steps)-1].prints = body
		}
	}
	return all
}

// The README's commands do what it says. They are run as they stand, on ports
// that are free: each section by one shell, after the abbreviations.
func TestExamples_ReadmeIsTrue(t *testing.T) {
	t.Parallel()
	sections := readExamples(t)
	if len(sections) < 3 || len(sections[0].steps) != 1 {
		t.Fatalf("not a section of abbreviations and two of examples: %+v", sections)
	}
	for _, s := range sections[1:] {
		t.Run(s.title, func(t *testing.T) {
			t.Parallel()
			if len(s.steps) == 0 {
				t.Fatal("no commands")
			}
			runSection(t, append(sections[0].steps[:1:1], s.steps...))
		})
	}
}

func runSection(t *testing.T, steps []step) {
	t.Helper()
	watchExamples(t)
	dir := t.TempDir()
	for link, target := range map[string]string{"examples": "../../examples", "bin": filepath.Dir(programs.Path("millrace"))} {
		path, err := filepath.Abs(target)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	addr, receiver := programs.FreeAddr(t), programs.FreeAddr(t)
	_, port, err := net.SplitHostPort(receiver)
	if err != nil {
		t.Fatal(err)
	}
	here := strings.NewReplacer("127.0.0.1:8000", addr, "127.0.0.1:9000", receiver, "receiver.py 9000", "receiver.py "+port,
		"go build -o bin/count ./examples/count", "test -x bin/count") // it is built with the programs

	const mark = "@@ the next step @@"
	script := "set -eu\nexport LISTEN_ADDR=" + addr + "\n"
	for _, s := range steps {
		script += here.Replace(s.commands) + "\necho '" + mark + "'\n"
	}
	printed := strings.Split(runShell(t, dir, script), mark)
	for i, s := range steps {
		if i >= len(printed) {
			t.Fatalf("it ended before:\n%s", s.commands)
		}
		if s.prints != "" && !printsAs(here.Replace(s.prints)).MatchString(squeeze(printed[i])) {
			t.Errorf("these commands:\n%s\nprint:\n%s\nnot:\n%s", s.commands, printed[i], s.prints)
		}
	}
	if t.Failed() {
		for _, name := range []string{"millrace.log", "receiver.log"} {
			text, _ := os.ReadFile(filepath.Join(dir, name)) // not every section has both
			t.Logf("%s:\n%s", name, text)
		}
	}
}

// runShell runs the script, ends all that it started, and returns what it printed.
func runShell(t *testing.T, dir, script string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	var out, problems bytes.Buffer
	cmd := exec.CommandContext(ctx, "sh", "-c", script)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &problems
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = 5 * time.Second
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	err := cmd.Wait()
	if kill := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); kill != nil && !errors.Is(kill, syscall.ESRCH) {
		t.Errorf("end what the commands started: %v", kill)
	}
	if err != nil {
		t.Errorf("%v (the commands need curl and python3): %s", err, problems.String())
	}
	return out.String()
}

// printsAs is the pattern for what a README shows.
func printsAs(shown string) *regexp.Regexp {
	return regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(squeeze(shown)), "…", "[^\n]*") + "$")
}

// squeeze removes blank lines, and spaces around each line.
func squeeze(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}
