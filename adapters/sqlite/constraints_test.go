package sqlite_test

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/millrace/millrace/adapters/sqlite"
	"github.com/millrace/millrace/domain"
)

// Every new rule of the schema is to be judged: can input break it?
func TestConstraints_AreThoseOfTheSchema(t *testing.T) {
	db, _ := open(t, fresh(t))
	writer, _ := sqlite.Pools(db)
	var texts []string
	must(t, writer.Select(&texts, "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'millrace%'"))
	var found []string
	named := regexp.MustCompile(`CONSTRAINT \w+\s+CHECK \(`)
	for _, text := range texts {
		// What breaks one without a name counts as an operator's refusal. The two of workers are of before.
		unnamed := strings.Count(text, "CHECK (") - len(named.FindAllString(text, -1))
		if unnamed > 0 && !strings.HasPrefix(text, "CREATE TABLE workers") {
			t.Errorf("%d CHECKs have no name: %s", unnamed, text)
		}
		for _, match := range regexp.MustCompile(`CONSTRAINT (\w+)\s+CHECK|RAISE\(ABORT, '([^']+)'`).FindAllStringSubmatch(text, -1) {
			found = append(found, match[1]+match[2])
		}
	}
	slices.Sort(found)
	want := slices.Sorted(slices.Values(sqlite.Constraints))
	if found = slices.Compact(found); !slices.Equal(found, want) {
		t.Errorf("the schema has %q, and %q are listed", found, want)
	}
}

// What our own rules refuse, no client has sent; what an operator's do, a client has.
func TestTranslate_TellsADefectFromARefusal(t *testing.T) {
	db, _ := open(t, fresh(t))
	addTask(t, storeOn(db))
	writer, _ := sqlite.Pools(db)
	writer.MustExec(`CREATE TRIGGER house_rule BEFORE UPDATE ON tasks WHEN NEW.message = 'no'
		BEGIN SELECT RAISE(ABORT, 'tasks: no is forbidden'); END`)
	for change, want := range map[string]domain.Code{
		"priority = 10": domain.CodeInternal, "attempt = -1": domain.CodeInternal, `metadata = '{"a": 1}'`: domain.CodeInternal,
		"created_at = -9223372036854775808": domain.CodeInternal, "message = 'no'": domain.CodeRefused,
	} {
		_, err := writer.Exec("UPDATE tasks SET " + change)
		got := sqlite.Translate(db, sqlite.Translate(db, err))
		if !errors.Is(got, domain.ErrRefused) || domain.Public(got).Code != want {
			t.Errorf("%s: %v, want a refusal that is %s to clients", change, got, want)
		}
	}
}
