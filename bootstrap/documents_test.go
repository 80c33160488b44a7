package bootstrap

import (
	"os"
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
		"MAX_ATTEMPTS":        {"10", "The number of failures after which the task becomes failed. 10 unless the operator has set another default."},
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
