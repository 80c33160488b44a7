package application_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

func TestDecodeFilter_ReadsWhatEncodeFilterHasWritten(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 1000, time.UTC)
	for name, f := range map[string]domain.TaskFilter{
		"nothing": {},
		"everything": {
			Statuses: []domain.Status{domain.StatusFailed, domain.StatusPending}, Queues: []domain.QueueName{"a", "b.c"},
			CreatedFrom: at, CreatedBefore: at.Add(time.Hour), FinishedFrom: at, FinishedBefore: at.Add(time.Microsecond),
			Metadata: map[string]string{"a": "\u2028<&>\""}, Text: "100% \\ \x01",
		},
	} {
		text, err := application.EncodeFilter(f)
		if err != nil {
			t.Fatal(err)
		}
		got, err := application.DecodeFilter([]byte(text))
		if diff := cmp.Diff(f, got); err != nil || diff != "" {
			t.Errorf("%s, as %s: %v (-want +got):\n%s", name, text, err, diff)
		}
	}
}

func TestEncodeFilter_RefusesWhatWouldComeBackAsAnother(t *testing.T) {
	for _, f := range []domain.TaskFilter{{Text: "\xff"}, {Metadata: map[string]string{"a": "\xff"}}} {
		if text, err := application.EncodeFilter(f); domain.Public(err).Code != domain.CodeInvalid {
			t.Errorf("%+v is stored as %s, %v", f, text, err)
		}
	}
}

func TestDecodeFilter_RefusesWhatItDoesNotUnderstand(t *testing.T) {
	for _, text := range []string{"", "null", "[]", `{"text":1}`, `{"owner":"a"}`, `{"created_from":"yesterday"}`} {
		if f, err := application.DecodeFilter([]byte(text)); err == nil {
			t.Errorf("%q was read as %+v", text, f)
		}
	}
}

// A program that knows no action that deletes would count every task as skipped.
func TestDecodeFilter_RefusesThatOfAnActionThatDeletes(t *testing.T) {
	for _, action := range domain.BulkActions() {
		b := domain.Bulk{Action: action, Filter: domain.TaskFilter{Text: "x", Queues: []domain.QueueName{"mail"}}}
		text, err := application.EncodeBulkFilter(b)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := application.DecodeFilter([]byte(text)); (err != nil) != (action == domain.BulkDelete) {
			t.Errorf("%s, as %s, read by a program of before: %v", action, text, err)
		}
		for _, as := range domain.BulkActions() {
			got, err := application.DecodeBulkFilter(as, []byte(text))
			same := (as == domain.BulkDelete) == (action == domain.BulkDelete)
			if (err == nil) != same || same && !cmp.Equal(b.Filter, got) {
				t.Errorf("%s, as %s, read for %s: %+v, %v", action, text, as, got, err)
			}
		}
	}
	if _, err := application.EncodeBulkFilter(domain.Bulk{Filter: domain.TaskFilter{Text: "\xff"}}); domain.Public(err).Code != domain.CodeInvalid {
		t.Errorf("a filter that would come back as another: %v", err)
	}
}
