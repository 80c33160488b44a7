package bootstrap

import (
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// read is a file of the repository.
func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile("../" + path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// defaults are the settings of all programs; one that differs between them has all
// its defaults.
func defaults() map[string][]string {
	all := map[string][]string{}
	for _, cfg := range []any{APIConfig{}, WorkerConfig{}, EmbeddedConfig{}} {
		for _, s := range settingsOf(reflect.ValueOf(cfg)) {
			all[s.name] = append(all[s.name], s.value)
		}
	}
	return all
}

func TestDocuments_ListEverySettingWithItsDefault(t *testing.T) {
	listed := map[string][]string{}
	_, table, _ := strings.Cut(read(t, "README.md"), "## Settings\n")
	table, _, _ = strings.Cut(table, "\n## ")
	var names []string
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) < 6 || !strings.Contains(line, "`") && !strings.Contains(line, "none") {
			continue
		}
		cell := func(i int) []string {
			return strings.Split(strings.ReplaceAll(strings.TrimSpace(cells[i]), "`", ""), ", ")
		}
		if named := cell(1); named[0] != "" {
			names = named
		} // otherwise another default of the row above
		for i, value := range cell(2) {
			listed[names[i]] = append(listed[names[i]], strings.TrimSuffix(value, "none"))
		}
	}
	for name, values := range defaults() {
		for _, value := range values {
			if !slices.Contains(listed[name], value) {
				t.Errorf("%s: the README has the defaults %q, not %q", name, listed[name], value)
			}
		}
	}
	for name := range listed {
		if _, ok := defaults()[name]; !ok {
			t.Errorf("%s: the README lists what no program reads", name)
		}
	}
}

func TestDocuments_TheAPISaysTheDefaultsThatItsClientsMeet(t *testing.T) {
	spec := strings.Join(strings.Fields(read(t, "adapters/httpapi/openapi.yaml")), " ")
	for name, c := range map[string]struct{ value, sentence string }{
		"MAX_ATTEMPTS":        {"25", "The number of failures after which the task becomes failed. 25 unless the operator has set another default."},
		"MAX_MESSAGE_BYTES":   {"262144", "At most 256 KiB in UTF-8 unless the operator has set another limit."},
		"MAX_BATCH_BYTES":     {"16777216", "16 MiB unless the operator has set another limit."},
		"IDEMPOTENCY_KEY_TTL": {"24h", "is remembered for 24 hours unless the operator has set another time."},
	} {
		if got := defaults()[name]; !slices.Contains(got, c.value) {
			t.Errorf("%s: the default is %q, not %s, of which the API says %q", name, got, c.value, c.sentence)
		}
		if !strings.Contains(spec, c.sentence) {
			t.Errorf("%s: the API does not say %q", name, c.sentence)
		}
	}
}

func TestDocuments_TheGlossaryIsShortAndItsTermsAreUsed(t *testing.T) {
	var code strings.Builder
	for _, folder := range []string{"domain", "application", "adapters"} {
		err := filepath.WalkDir("../"+folder, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return err
			}
			code.WriteString(read(t, strings.TrimPrefix(path, "../")))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	joined := func(text string) string { return strings.ToLower(strings.ReplaceAll(text, " ", "")) }
	used, terms := joined(code.String()), 0
	_, table, _ := strings.Cut(read(t, "docs/glossary.md"), "| --- |")
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if !strings.HasPrefix(line, "| ") || len(cells) < 3 || strings.HasPrefix(line, "| ---") {
			continue
		}
		terms++
		for term := range strings.SplitSeq(strings.TrimSpace(cells[1]), ", ") {
			if !strings.Contains(used, joined(term)) {
				t.Errorf("no code uses the term %q", term)
			}
		}
	}
	if terms == 0 || terms > 30 {
		t.Errorf("the glossary has %d terms, want at most 30", terms)
	}
}
