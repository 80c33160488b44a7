package domain_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/domain"
)

func TestNewBulk_BeginsAboveAllTasksThatThereAre(t *testing.T) {
	older := domain.NewTaskID(start)
	b, err := domain.NewBulk(domain.BulkStop, domain.TaskFilter{Text: "x"}, at(0.0000019))
	must(t, err)
	want := domain.Bulk{
		ID: b.ID, Action: domain.BulkStop, Filter: domain.TaskFilter{Text: "x"}, Cursor: domain.TaskID(b.ID),
		CreatedAt: at(0.000001), UpdatedAt: at(0.000001), Window: 200, // it has to read messages
	}
	if diff := cmp.Diff(want, b); diff != "" {
		t.Errorf("bulk action (-want +got):\n%s", diff)
	}
	if older.String() >= b.Cursor.String() {
		t.Errorf("the cursor %s is not above %s", b.Cursor, older)
	}
}

func TestNewBulk_NamesAllThatIsWrong(t *testing.T) {
	_, err := domain.NewBulk("purge", domain.TaskFilter{Text: "\x00"}, start)
	wantCode(t, err, domain.CodeInvalid)
	var fields []string
	for _, f := range domain.Public(err).Fields {
		fields = append(fields, f.Field)
	}
	if diff := cmp.Diff([]string{"action", "filter/text"}, fields); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
}

func TestBulkAction_IsWhatItDoesToATask(t *testing.T) {
	for action, want := range map[domain.BulkAction]map[domain.Status]domain.Status{
		domain.BulkCancel: {"pending": "canceled", "canceled": "canceled"},
		domain.BulkStop:   {"pending": "canceled", "canceled": "canceled", "processing": "processing"},
		domain.BulkRetry:  {"failed": "pending"},
		domain.BulkDelete: {"completed": "completed", "canceled": "canceled", "failed": "failed"},
		"purge":           {},
	} {
		for _, from := range domain.Statuses() {
			task := taskIn(t, from)
			err := action.Apply(task, at(1))
			to, allowed := want[from]
			if (err == nil) != allowed || allowed && task.Status() != to {
				t.Errorf("%s of a %s task: %s, %v", action, from, task.Status(), err)
			}
			if allowed && from == domain.StatusProcessing && !task.StopRequested() {
				t.Errorf("%s did not ask the task to stop", action)
			}
			if task.Deleted() != (allowed && action == domain.BulkDelete) {
				t.Errorf("%s of a %s task: deleted: %v", action, from, task.Deleted())
			}
		}
	}
}

func TestBulk_AdvanceMovesOnOrIsDone(t *testing.T) {
	b, err := domain.NewBulk(domain.BulkCancel, domain.TaskFilter{}, start)
	must(t, err)
	b.Changed, b.Skipped = 10, 20
	first, last, end := domain.NewTaskID(at(-1)), domain.NewTaskID(at(-2)), domain.NewTaskID(at(-3))
	found := []domain.TaskID{first, last}
	for name, c := range map[string]struct {
		part   domain.BulkPart
		cursor domain.TaskID
		done   bool
	}{
		"full":               {domain.BulkPart{Found: found, Full: true, Changed: 1, Skipped: 1}, last, false},
		"full at the end":    {domain.BulkPart{Found: found, Full: true, End: end}, last, false},
		"the window is over": {domain.BulkPart{Found: found, End: end, Changed: 2}, end, false},
		"nothing in it":      {domain.BulkPart{End: end}, end, false},
		"no more":            {domain.BulkPart{Found: found, Skipped: 2}, b.Cursor, true},
		"none at all":        {domain.BulkPart{}, b.Cursor, true},
	} {
		want := b
		want.Cursor, want.UpdatedAt = c.cursor, at(1)
		want.Changed, want.Skipped = 10+c.part.Changed, 20+c.part.Skipped
		if c.done {
			want.DoneAt = at(1)
		}
		if diff := cmp.Diff(want, b.Advance(c.part, at(1.0000009))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if got := b.Advance(domain.BulkPart{}, at(-1)); !got.UpdatedAt.Equal(start) || !got.DoneAt.Equal(start) {
		t.Errorf("a clock that stepped back: updated at %s, done at %s", got.UpdatedAt, got.DoneAt)
	}
}

func TestBulk_FailsAfterTooManyStepsThatTookTooLong(t *testing.T) {
	now := time.Now()
	b, err := domain.NewBulk(domain.BulkCancel, domain.TaskFilter{Text: "x"}, now)
	if err != nil || b.Window == 0 {
		t.Fatalf("%+v, %v; want a window of its own for what has to read messages", b, err)
	}
	steps := 0
	for b.DoneAt.IsZero() && steps < 100 {
		b = b.Shrink(b.Window, now)
		steps++
	}
	if b.Ended != domain.BulkFailed || b.Reason == "" || b.Window != 1 {
		t.Errorf("after %d steps: %+v", steps, b)
	}
}

func TestBulk_WindowFollowsTheTimeThatASearchTakes(t *testing.T) {
	b := domain.Bulk{Window: 100}
	more := domain.BulkPart{End: domain.TaskID{1}}
	for took, want := range map[time.Duration]int{time.Millisecond: 200, 500 * time.Millisecond: 100, 2 * time.Second: 50} {
		more.Took = took
		if got := b.Advance(more, time.Now()).Window; got != want {
			t.Errorf("after %s: %d, want %d", took, got, want)
		}
	}
	for range 20 {
		more.Took = time.Millisecond
		b = b.Advance(more, time.Now())
	}
	if b.Window != 0 {
		t.Errorf("a window that grows without end: %d", b.Window)
	}
}

func TestBulk_OfAnUnknownActionIsNotCarriedOut(t *testing.T) {
	for _, action := range domain.BulkActions() {
		b, err := domain.NewBulk(action, domain.TaskFilter{}, start)
		must(t, err)
		must(t, b.Readable())
		if b.Action += "s"; b.Readable() == nil {
			t.Errorf("the action %s can be read: it would skip every task", b.Action)
		}
	}
}
