package bootstrap

import (
	"cmp"
	"log/slog"
	"reflect"
	"slices"
	"strings"
)

// misspelling is a variable of the environment that no program reads and whose name is
// nearly that of one which a program reads.
type misspelling struct {
	name  string // as it is set
	means string // the setting
}

// misspelled finds them in NAME=value lines, by name.
func misspelled(environ []string) []misspelling {
	known := settingNames()
	var found []misspelling
	for _, line := range environ {
		name, value, _ := strings.Cut(line, "=")
		if value == "" || slices.Contains(known, name) {
			continue
		}
		if means, ok := nearest(name, known); ok {
			found = append(found, misspelling{name, means})
		}
	}
	slices.SortFunc(found, func(a, b misspelling) int { return cmp.Compare(a.name, b.name) })
	return found
}

// settingNames are the settings of all programs: what is of another program is not
// misspelled.
func settingNames() []string {
	var names []string
	for _, cfg := range []any{APIConfig{}, WorkerConfig{}, EmbeddedConfig{}} {
		for _, s := range settingsOf(reflect.ValueOf(cfg)) {
			names = append(names, s.name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// nearest is the setting that a name is nearly: in other capitals, after MILLRACE_, or
// with one mistake; with two if the setting has more than six letters, three over ten.
func nearest(name string, known []string) (means string, near bool) {
	upper := strings.TrimPrefix(strings.ToUpper(name), "MILLRACE_")
	best := len(upper)
	for _, k := range known {
		limit := 1
		switch {
		case len(k) > 10:
			limit = 3
		case len(k) > 6:
			limit = 2
		}
		if d := distance(upper, k); d <= limit && d < best {
			best, means = d, k
		}
	}
	return means, means != ""
}

// distance counts the mistakes between two names: a letter too many, too few or another,
// or two neighbors exchanged (optimal string alignment).
func distance(a, b string) int {
	before, last := []int(nil), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			wrong := 1
			if a[i-1] == b[j-1] {
				wrong = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+wrong)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}

// WarnOfMisspelled logs the variables of the environment that are nearly settings. Their
// values may be secrets, and are not shown.
func WarnOfMisspelled(environ []string, log *slog.Logger) {
	for _, m := range misspelled(environ) {
		log.Warn("unknown environment variable: it may be a misspelled setting", "variable", m.name, "setting", m.means)
	}
}
