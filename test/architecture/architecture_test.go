// Package architecture asserts which way the imports of Millrace point, so that
// the rule cannot rot. It asks the go command and knows no package by name.
package architecture

import (
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/millrace/millrace"

// layers are the folders of the module, the innermost first. A package imports
// packages of its own or an inner layer, and test code is imported by none. The
// first two know nothing of the rest: the client is for other programs to import.
var layers = []string{"client", "migrations", "domain", "application", "adapters", "bootstrap", "cmd"}

// outsiders is what the use cases must not reach, however indirectly.
var outsiders = []string{
	module + "/adapters", module + "/bootstrap", module + "/client", module + "/migrations",
	"database/sql", "net/http",
	"github.com/jmoiron/sqlx", "github.com/lib/pq", "modernc.org/sqlite",
	"github.com/gomodule/redigo", "github.com/gorilla/mux", "github.com/google/wire",
	"go.opentelemetry.io", // who follows tasks decorates a port
}

// pkg is a package and what it imports outside its tests.
type pkg struct {
	path    string
	imports []string
}

// watch opens the module's folders. A cached result of a test is good as long as
// the files and folders that it opened are the same, and what go list opens does
// not count: without this, an import added anywhere else would not be seen.
func watch(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir("../..", func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && (d.Name() == ".git" || d.Name() == "bin") {
			return fs.SkipDir
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// list runs go list and returns a line for each package.
func list(t *testing.T, args ...string) []string {
	t.Helper()
	watch(t)
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list"}, args...)...)
	var problems strings.Builder
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, problems.String())
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

// packages lists the module's packages, also while one of them does not build.
func packages(t *testing.T) []pkg {
	t.Helper()
	var all []pkg
	for _, line := range list(t, "-e", "-f", `{{.ImportPath}} {{join .Imports " "}}`, module+"/...") {
		path, imports, _ := strings.Cut(line, " ")
		all = append(all, pkg{path: path, imports: strings.Fields(imports)})
	}
	if !slices.ContainsFunc(all, func(p pkg) bool { return p.path == module+"/cmd/api" }) {
		t.Fatalf("go list finds no cmd/api among %d packages", len(all))
	}
	return all
}

// within reports whether a package is the folder's, or of a folder in it.
func within(path, folder string) bool {
	return path == folder || strings.HasPrefix(path, folder+"/")
}

// layer returns the rank of the package's folder; tests and examples are outermost.
// The package at the top, with which other programs embed Millrace, stands where
// cmd does.
func layer(path string) (rank int, known bool) {
	if within(path, module+"/test") || within(path, module+"/examples") {
		return len(layers), true
	}
	if path == module {
		return slices.Index(layers, "cmd"), true
	}
	for i, folder := range layers {
		if within(path, module+"/"+folder) {
			return i, true
		}
	}
	return 0, false
}

// adapter returns the folder of the adapter that a package is part of, or "". What
// is in internal is no adapter: it knows no technology, and all of them may use it.
func adapter(path string) string {
	rest, ok := strings.CutPrefix(path, module+"/adapters/")
	if !ok {
		return ""
	}
	if name, _, _ := strings.Cut(rest, "/"); name != "internal" {
		return name
	}
	return ""
}

// forTests reports whether a package is test code, or exists for tests.
func forTests(path string) bool {
	return within(path, module+"/test") || within(path, module+"/application/mocks")
}

func TestImports_PointInwards(t *testing.T) {
	for _, p := range packages(t) {
		from, known := layer(p.path)
		if !known {
			t.Errorf("%s is in no folder that the design knows: %s, test, examples", p.path, strings.Join(layers, ", "))
			continue
		}
		for _, path := range p.imports {
			to, ours := layer(path)
			switch {
			case !ours:
			case to > from && !forTests(p.path): // what is for tests may use any adapter
				t.Errorf("%s imports %s, which is further out", p.path, path)
			case forTests(path) && !forTests(p.path):
				t.Errorf("%s imports %s, which is for tests", p.path, path)
			}
		}
	}
}

func TestAdapters_NeverImportOneAnother(t *testing.T) {
	for _, p := range packages(t) {
		own := adapter(p.path)
		for _, path := range p.imports {
			if other := adapter(path); own != "" && other != "" && other != own {
				t.Errorf("the adapter %s imports its neighbour %s", p.path, path)
			}
		}
	}
}

// rooms are the packages of application that use the ports. What two of them need
// stands in application, or in a package that all of them may import.
var rooms = []string{module + "/application/usecase", module + "/application/worker", module + "/application/dispatch"}

func TestApplication_ItsRoomsDoNotImportOneAnother(t *testing.T) {
	room := func(path string) int {
		return slices.IndexFunc(rooms, func(r string) bool { return within(path, r) })
	}
	found := map[int]bool{}
	for _, p := range packages(t) {
		own := room(p.path)
		found[own] = true
		for _, path := range p.imports {
			if other := room(path); own >= 0 && other >= 0 && other != own {
				t.Errorf("%s imports its neighbour %s", p.path, path)
			}
		}
	}
	for i, r := range rooms {
		if !found[i] {
			t.Errorf("there is no package %s", r)
		}
	}
}

func TestDomain_NeedsTheStandardLibraryAndUUIDsOnly(t *testing.T) {
	got := list(t, "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", module+"/domain")
	if want := []string{"github.com/google/uuid", module + "/domain"}; !slices.Equal(got, want) {
		t.Errorf("domain needs %q, want %q", got, want)
	}
}

func TestApplication_KnowsNoTechnology(t *testing.T) {
	for _, path := range list(t, append([]string{"-deps", module + "/application"}, rooms...)...) {
		for _, outsider := range outsiders {
			// A UUID knows how to be a value of database/sql/driver: an interface, no database.
			if within(path, outsider) && path != "database/sql/driver" {
				t.Errorf("application reaches %s", path)
			}
		}
	}
}

func TestApplication_LogsNothing(t *testing.T) {
	for _, p := range packages(t) {
		if !within(p.path, module+"/application") || forTests(p.path) {
			continue
		}
		for _, path := range p.imports {
			if within(path, "log") {
				t.Errorf("%s imports %s: what a port refuses is logged by its decorator", p.path, path)
			}
		}
	}
}
