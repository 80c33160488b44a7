package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/test/programs"
	"github.com/millrace/millrace/test/services"
)

// readme is the README, and where the service of its examples is in a test.
type readme struct {
	t    *testing.T
	text string
	addr string
}

func openReadme(t *testing.T) readme {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	return readme{t: t, text: string(text), addr: programs.FreeAddr(t)}
}

// blocks are the blocks of that kind in a section, with the test's address.
func (r readme) blocks(title, kind string) []string {
	r.t.Helper()
	_, section, _ := strings.Cut(r.text, "\n## "+title+"\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var all []string
	for _, m := range regexp.MustCompile("(?ms)^```"+kind+"\n(.*?)^```$").FindAllStringSubmatch(section, -1) {
		all = append(all, strings.ReplaceAll(m[1], "127.0.0.1:8000", r.addr))
	}
	if len(all) == 0 {
		r.t.Fatalf("no block of %s in the section %q", kind, title)
	}
	return all
}

// steps are the commands of console blocks, and what they print.
func steps(blocks []string) []step {
	var all []step
	for _, block := range blocks {
		continued := false
		for line := range strings.Lines(block) {
			command, is := strings.CutPrefix(line, "$ ")
			switch {
			case is:
				all = append(all, step{commands: command})
			case continued:
				all[len(all)-1].commands += line
			default:
				all[len(all)-1].prints += line
			}
			continued = strings.HasSuffix(line, "\\\n")
		}
	}
	return all
}

// run starts the service and runs the steps, all in one shell.
func (r readme) run(serve string, all []step) {
	r.t.Helper()
	const mark = "@@ the next step @@"
	script := "set -eu\nexport LISTEN_ADDR=" + r.addr + "\n" + strings.TrimSpace(serve) + " > millrace.log 2>&1 &\n" +
		"curl -s --retry 30 --retry-delay 1 --retry-connrefused http://" + r.addr + "/readyz\necho '" + mark + "'\n"
	for _, s := range all {
		script += s.commands + "echo; echo '" + mark + "'\n"
	}
	printed := strings.Split(runShell(r.t, withPrograms(r.t), script), mark)
	for i, s := range all {
		if i+1 >= len(printed) {
			r.t.Fatalf("it ended before:\n%s", s.commands)
		}
		if got := printed[i+1]; s.prints != "" && !shows(s.prints, got) {
			r.t.Errorf("this command:\n%s\nprints:\n%s\nnot:\n%s", s.commands, got, s.prints)
		} else if s.prints == "" && strings.Contains(got, "/problems/") {
			r.t.Errorf("this command:\n%s\nis refused: %s", s.commands, got)
		}
	}
}

// withPrograms is a folder with the programs below bin.
func withPrograms(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Symlink(filepath.Dir(programs.Path("millrace")), filepath.Join(dir, "bin")); err != nil {
		t.Fatal(err)
	}
	return dir
}

var varying = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d{4}-\d\d-\d\dT[0-9:.]+Z`)

// shows reports whether the README shows what was printed: ids and times differ,
// and ... stands for anything.
func shows(shown, printed string) bool {
	same := func(text string) string {
		return varying.ReplaceAllString(squeeze(strings.ReplaceAll(text, "\r", "")), "*")
	}
	pattern := strings.ReplaceAll(regexp.QuoteMeta(same(shown)), `\.\.\.`, "(?s:.*)")
	return regexp.MustCompile("^" + pattern + "$").MatchString(same(printed))
}

func TestReadme_CommandsDoWhatItSays(t *testing.T) {
	t.Parallel()
	use := openReadme(t)
	use.run("bin/millrace serve", steps(use.blocks("Use", "console")))
	queues := openReadme(t)
	queues.run(queues.blocks("Queues", "sh")[0], steps(queues.blocks("Queues", "console")))
}

func TestReadme_ProgramsRun(t *testing.T) {
	t.Parallel()
	for kind, c := range map[string]struct{ file, run string }{"python": {"main.py", "python3"}, "go": {"main.go", "go run"}} {
		r := openReadme(t)
		r.addr = embed(t, t.TempDir()).addr
		file := filepath.Join(t.TempDir(), c.file)
		if err := os.WriteFile(file, []byte(r.blocks("From a program", kind)[0]), 0o600); err != nil {
			t.Fatal(err)
		}
		args := append(strings.Fields(c.run), file)
		cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
		cmd.Dir = "../.." // where the module is
		if out, err := cmd.CombinedOutput(); err != nil || string(out) != "completed\n" {
			t.Errorf("the program in %s (%s is needed): %v: %s", kind, args[0], err, out)
		}
	}
}

func TestReadme_ThreeWorkersRunWithoutCompose(t *testing.T) {
	t.Parallel()
	r := openReadme(t)
	commands := r.blocks("Run it on PostgreSQL and Redis", "sh")[1]
	for was, is := range map[string]string{
		"make build": "true", // they are built with the tests
		"'postgres://millrace:millrace@127.0.0.1:5432/millrace?sslmode=disable'": "'" + services.PostgreSQL(t) + "'",
		"'redis://127.0.0.1:6379/0'": "'" + services.Redis(t) + "'",
		"127.0.0.1:909$n":            "127.0.0.1:0",
	} {
		if !strings.Contains(commands, was) {
			t.Errorf("the README lacks %s", was)
		}
		commands = strings.ReplaceAll(commands, was, is)
	}
	script := fmt.Sprintf("set -eu\nexport LISTEN_ADDR=%s\nexec >programs.log 2>&1\n%s\nuntil curl -s http://%s/queues | grep '\"workers\":3'; do sleep 0.2; done\n",
		r.addr, commands, r.addr)
	begun := time.Now()
	runShell(t, withPrograms(t), script)
	t.Logf("there were three workers after %s", time.Since(begun))
}
