package redis

import (
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

func TestParseEntry_RefusesWhatEncodeEntryDoesNotWrite(t *testing.T) {
	const id = "01890a5d-ac96-774b-bcce-b302099a8057"
	if _, err := parseEntry(lane, id+":0"); err != nil {
		t.Errorf("the beginning of time: %v", err)
	}
	if _, err := parseEntry(lane, id+":253402300799999999"); err != nil {
		t.Errorf("the end of time: %v", err)
	}
	for _, text := range []string{
		"", ":", id, id + ":", ":1", id + ":1x", id + ":-1", id + ":+1", id + ":01", id + ":1.5", id + ":1:1", " " + id + ":1",
		id + ":253402300800000000", id + ":99999999999999999999", "{" + id + "}:1", "01890A5D-AC96-774B-BCCE-B302099A8057:1",
		"01890a5dac96774bbcceb302099a8057:1", id + ":1\n", "\xff\x00",
	} {
		if e, err := parseEntry(lane, text); err == nil {
			t.Errorf("%q was read as %v", text, e)
		}
	}
}

func FuzzEntry(f *testing.F) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 1000, time.UTC)
	f.Add(encodeEntry(application.Entry{ID: domain.NewTaskID(now), QueuedAt: now}))
	f.Fuzz(func(t *testing.T, text string) {
		e, err := parseEntry(lane, text)
		if err != nil {
			return
		}
		if got := encodeEntry(e); got != text || e.Lane != lane {
			t.Errorf("%q is written back as %q, of %v", text, got, e.Lane)
		}
		if y := e.QueuedAt.Year(); y < 1970 || y > 9999 || e.QueuedAt.Location() != time.UTC {
			t.Errorf("%q is read as %v", text, e.QueuedAt)
		}
	})
}

func TestParseList_RefusesWhatEncodeListDoesNotWrite(t *testing.T) {
	longest := domain.QueueName(strings.Repeat("q", 64))
	for _, want := range []application.Lane{{Queue: "default", Priority: 0}, {Queue: "0", Priority: 9}, {Queue: "a.b_c-d", Priority: 5}, {Queue: longest}} {
		if got, err := parseLane(encodeLane(want)); err != nil || got != want {
			t.Errorf("%v is read as %v, error %v", want, got, err)
		}
	}
	for _, text := range []string{
		"", ":", "queue", "queue:", "queue::", "queue:a", "queue:a:", "queue::0", "queue:a:10", "queue:a:-1", "queue:a:+1", "queue:a:01", "queue:a:x",
		"queue:a:1:1", "queue:a: 1", "queue:A:1", "queue:.a:1", "queue:a b:1", "a:1", "queue:queue:a:1", "Queue:a:1", "queue:" + string(longest) + "q:1", "\xff\x00",
	} {
		if l, err := parseLane(text); err == nil {
			t.Errorf("%q was read as %v", text, l)
		}
	}
}

func FuzzLane(f *testing.F) {
	f.Add(encodeLane(lane))
	f.Fuzz(func(t *testing.T, text string) {
		l, err := parseLane(text)
		if err != nil {
			return
		}
		if got := encodeLane(l); got != text {
			t.Errorf("%q is written back as %q", text, got)
		}
		if _, err := domain.ParseQueueName(string(l.Queue)); err != nil || l.Priority < 0 || l.Priority > domain.MaxPriority {
			t.Errorf("%q is read as %v", text, l)
		}
	})
}
