//go:build upgrade

package upgrade

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// firstChanges are the files that came with changes of the schema which the older
// programs do not know. They are those of the commit before the first of these was
// added, or of the last commit as long as none was. A new release begins a new list.
var firstChanges = []string{
	"adapters/internal/schema/schema.go", // versions in a table of Millrace's own
	"migrations/postgres/00002_*.sql",
}

// buildOlder builds api and worker of the older commit and returns their folder.
func buildOlder(t *testing.T) string {
	t.Helper()
	commit := olderCommit(t)
	t.Logf("the older programs are those of %s", run(t, "../..", "git", "show", "--no-patch", "--format=%h (%cs, %s)", commit))
	dir := t.TempDir()
	tree, bin, archive := filepath.Join(dir, "tree"), filepath.Join(dir, "older"), filepath.Join(dir, "tree.tar")
	for _, made := range []string{tree, bin} {
		if err := os.Mkdir(made, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// An archive leaves nothing in the repository, as a worktree would if the test is killed.
	run(t, "../..", "git", "archive", "--format=tar", "--output="+archive, commit)
	run(t, tree, "tar", "-xf", archive)
	run(t, tree, "go", "build", "-buildvcs=false", "-o", bin, "./cmd/api", "./cmd/worker")
	return bin
}

func olderCommit(t *testing.T) string {
	t.Helper()
	added := run(t, "../..", "git", append([]string{"log", "--topo-order", "--diff-filter=A", "--format=%H", "--"}, firstChanges...)...)
	if added == "" {
		return "HEAD"
	}
	all := strings.Fields(added) // the newest first
	return all[len(all)-1] + "^"
}

// run runs a command in the folder and returns what it printed.
func run(t *testing.T, folder, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = folder
	var problems strings.Builder
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, problems.String())
	}
	return strings.TrimSpace(string(out))
}
