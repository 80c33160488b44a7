package redis

import (
	"testing"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

func TestParseEntry_RefusesWhatEncodeEntryDoesNotWrite(t *testing.T) {
	const id = "01890a5d-ac96-774b-bcce-b302099a8057"
	if _, err := parseEntry(id + ":0"); err != nil {
		t.Errorf("the beginning of time: %v", err)
	}
	if _, err := parseEntry(id + ":253402300799999999"); err != nil {
		t.Errorf("the end of time: %v", err)
	}
	for _, text := range []string{
		"", ":", id, id + ":", ":1", id + ":1x", id + ":-1", id + ":+1", id + ":01", id + ":1.5", id + ":1:1", " " + id + ":1",
		id + ":253402300800000000", id + ":99999999999999999999", "{" + id + "}:1", "01890A5D-AC96-774B-BCCE-B302099A8057:1",
		"01890a5dac96774bbcceb302099a8057:1", id + ":1\n", "\xff\x00",
	} {
		if e, err := parseEntry(text); err == nil {
			t.Errorf("%q was read as %v", text, e)
		}
	}
}

func FuzzEntry(f *testing.F) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 1000, time.UTC)
	f.Add(encodeEntry(application.Entry{ID: domain.NewTaskID(now), QueuedAt: now}))
	f.Fuzz(func(t *testing.T, text string) {
		e, err := parseEntry(text)
		if err != nil {
			return
		}
		if got := encodeEntry(e); got != text {
			t.Errorf("%q is written back as %q", text, got)
		}
		if y := e.QueuedAt.Year(); y < 1970 || y > 9999 || e.QueuedAt.Location() != time.UTC {
			t.Errorf("%q is read as %v", text, e.QueuedAt)
		}
	})
}
