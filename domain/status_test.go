package domain_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/domain"
)

// move is a change of status.
type move struct{ from, to domain.Status }

// moves is the state machine as the design draws it, written down a second time:
// what the domain allows is compared with this, never with its own table.
var moves = map[move]bool{
	{"pending", "processing"}:   true, // claim
	{"pending", "canceled"}:     true, // cancel
	{"processing", "completed"}: true, // complete
	{"processing", "pending"}:   true, // retry, release, lease lost
	{"processing", "failed"}:    true, // give up
	{"processing", "canceled"}:  true, // stopped on request
	{"failed", "pending"}:       true, // retry by hand
}

var statuses = []domain.Status{"pending", "processing", "completed", "canceled", "failed"}

func TestStatuses_AreTheFiveOfTheAPI(t *testing.T) {
	if diff := cmp.Diff(statuses, domain.Statuses()); diff != "" {
		t.Errorf("statuses (-want +got):\n%s", diff)
	}
}

func TestBefore_AllowsTheMovesOfTheDesignAndNoOther(t *testing.T) {
	for _, from := range statuses {
		for _, to := range statuses {
			if got := slices.Contains(domain.Before(to), from); got != moves[move{from, to}] {
				t.Errorf("%s -> %s allowed: %t", from, to, got)
			}
		}
	}
}

func TestStatus_Ended(t *testing.T) {
	for status, want := range map[domain.Status]bool{"pending": false, "processing": false, "completed": true, "canceled": true, "failed": true} {
		if status.Ended() != want {
			t.Errorf("%s ended: %t", status, !want)
		}
	}
}

func TestParseStatus_TakesTheSpellingsOfTheAPIOnly(t *testing.T) {
	for _, s := range statuses {
		if got, err := domain.ParseStatus(string(s)); err != nil || got != s {
			t.Errorf("ParseStatus(%q) = %q, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "Pending", "cancelled", " pending", "pending\x00", strings.Repeat("x", 1<<20)} {
		_, err := domain.ParseStatus(s)
		wantInvalid(t, err, "status")
		if len(err.Error()) > 300 {
			t.Errorf("the message about %d bytes is %d bytes long", len(s), len(err.Error()))
		}
	}
}
