package domain_test

import (
	"strings"
	"testing"

	"github.com/millrace/millrace/domain"
)

func TestTask_OnlyOneThatHasEndedCanBeDeleted(t *testing.T) {
	first := map[domain.Status]string{domain.StatusPending: "cancel it first", domain.StatusProcessing: "stop it first"}
	for _, status := range domain.Statuses() {
		task := taskIn(t, status)
		task.MarkStored()
		before := task.State()
		switch err := task.Delete(); {
		case first[status] == "":
			must(t, err)
		default:
			wantCode(t, err, domain.CodeConflict)
			if want := "a " + string(status) + " task cannot be deleted: " + first[status]; !strings.Contains(domain.Public(err).Message, want) {
				t.Errorf("%v; want %q", err, want)
			}
		}
		deleted := first[status] == ""
		if task.Deleted() != deleted || task.Dirty() != deleted || task.Clone().Deleted() != deleted {
			t.Errorf("%s: deleted %v, dirty %v", status, task.Deleted(), task.Dirty())
		}
		if after := task.State(); after.Version != before.Version || after.Status != status || !after.UpdatedAt.Equal(before.UpdatedAt) {
			t.Errorf("%s: %+v became %+v", status, before, after)
		}
	}
}
