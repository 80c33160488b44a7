package domain_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/millrace/millrace/domain"
)

func TestTaskFilter_CheckNamesEveryPartThatIsOutOfBounds(t *testing.T) {
	many := make([]domain.QueueName, domain.MaxFilterQueues+1)
	for name, c := range map[string]struct {
		filter domain.TaskFilter
		fields []string
	}{
		"nothing":            {domain.TaskFilter{}, nil},
		"as much as allowed": {domain.TaskFilter{Queues: many[1:], Text: strings.Repeat("x", domain.MaxFilterText)}, nil},
		"too many queues":    {domain.TaskFilter{Queues: many}, []string{"queue"}},
		"a long text":        {domain.TaskFilter{Text: strings.Repeat("x", domain.MaxFilterText+1)}, []string{"text"}},
		"a NUL":              {domain.TaskFilter{Text: "\x00"}, []string{"text"}},
		"no UTF-8":           {domain.TaskFilter{Text: "\xff"}, []string{"text"}},
		"a key":              {domain.TaskFilter{Metadata: map[string]string{"a b": ""}}, []string{"metadata/a b"}},
		"all at once":        {domain.TaskFilter{Queues: many, Text: "\xff", Metadata: map[string]string{"a": "\x00"}}, []string{"queue", "metadata/a", "text"}},
	} {
		err := c.filter.Check()
		var fields []string
		if err != nil {
			wantCode(t, err, domain.CodeInvalid)
			for _, f := range domain.Public(err).Fields {
				fields = append(fields, f.Field)
			}
		}
		if !slices.Equal(fields, c.fields) {
			t.Errorf("%s: refused for %v, want %v: %v", name, fields, c.fields, err)
		}
	}
}

func TestTaskFilter_NormalizeStatesOneMeaningInOneWay(t *testing.T) {
	half := 500 * time.Nanosecond
	ended := []domain.Status{domain.StatusCompleted, domain.StatusCanceled, domain.StatusFailed}
	for name, c := range map[string]struct{ filter, want domain.TaskFilter }{
		"nothing":        {domain.TaskFilter{}, domain.TaskFilter{}},
		"every status":   {domain.TaskFilter{Statuses: domain.Statuses()}, domain.TaskFilter{}},
		"doubled":        {domain.TaskFilter{Statuses: []domain.Status{"failed", "pending", "failed"}}, domain.TaskFilter{Statuses: []domain.Status{"pending", "failed"}}},
		"unknown":        {domain.TaskFilter{Statuses: []domain.Status{"lost", "pending"}}, domain.TaskFilter{Statuses: []domain.Status{"pending"}}},
		"finished from":  {domain.TaskFilter{FinishedFrom: start}, domain.TaskFilter{FinishedFrom: start, Statuses: ended}},
		"finished until": {domain.TaskFilter{FinishedBefore: start, Statuses: []domain.Status{"pending", "failed"}}, domain.TaskFilter{FinishedBefore: start, Statuses: ended[2:]}},
		"between two moments": {
			domain.TaskFilter{CreatedFrom: start.Add(-half), CreatedBefore: start.Add(half)},
			domain.TaskFilter{CreatedFrom: start, CreatedBefore: start.Add(time.Microsecond)},
		},
	} {
		before := slices.Clone(c.filter.Statuses)
		got, ok := c.filter.Normalize()
		if diff := cmp.Diff(c.want, got); !ok || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", name, ok, diff)
		}
		if !slices.Equal(c.filter.Statuses, before) {
			t.Errorf("%s: the filter itself has changed to %v", name, c.filter.Statuses)
		}
		if again, ok := got.Normalize(); !ok || !cmp.Equal(got, again) {
			t.Errorf("%s: normalized twice it is %+v, %v", name, again, ok)
		}
	}
}

func TestTaskFilter_NormalizeTellsWhatNoTaskCanMatch(t *testing.T) {
	for name, f := range map[string]domain.TaskFilter{
		"an empty range":             {CreatedFrom: start, CreatedBefore: start},
		"a range backwards":          {FinishedFrom: at(1), FinishedBefore: start},
		"no moment between":          {CreatedFrom: start.Add(1), CreatedBefore: start.Add(2)},
		"ended and does not run":     {FinishedFrom: start, Statuses: []domain.Status{"pending", "processing"}},
		"no status that there is":    {Statuses: []domain.Status{"lost"}},
		"a NUL in the text":          {Text: "\x00"},
		"half a character":           {Text: "\xc3"},
		"a key that is no text":      {Metadata: map[string]string{"\xff": ""}},
		"a value that is no text":    {Metadata: map[string]string{"a": "", "b": "\x00"}},
		"half a surrogate in a pair": {Metadata: map[string]string{"a": "\xed\xa0\x80"}},
	} {
		if got, ok := f.Normalize(); ok {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// What matches a range of times has an id in the range of ids.
func TestTaskFilter_IDsHoldEveryTaskThatMatches(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string) time.Time {
			return start.Add(time.Duration(rapid.Int64Range(-5_000_000, 5_000_000).Draw(t, name)))
		}
		created, from, before := domain.Moment(draw("created")), draw("from"), draw("before")
		f, ok := domain.TaskFilter{CreatedFrom: from, CreatedBefore: before}.Normalize()
		if !ok || created.Before(f.CreatedFrom) || !created.Before(f.CreatedBefore) {
			return
		}
		id, r := domain.NewTaskID(created), f.IDs()
		if bytes.Compare(id[:], r.From[:]) < 0 || bytes.Compare(id[:], r.Before[:]) >= 0 {
			t.Fatalf("%s, made at %s, is not in %s to %s", id, created, r.From, r.Before)
		}
	})
}

func TestTaskFilter_IDsAreBoundedByWhicheverEndsFirst(t *testing.T) {
	f := domain.TaskFilter{CreatedBefore: at(2), FinishedBefore: at(1)}
	if got, want := f.IDs(), (domain.IDRange{Before: domain.FirstID(at(1))}); got != want {
		t.Errorf("ids %+v, want %+v", got, want)
	}
	if got := (domain.TaskFilter{FinishedFrom: at(1)}).IDs(); got != (domain.IDRange{}) { // it may have been created long before
		t.Errorf("ids %+v of what finished late, want no bound", got)
	}
	low, high := domain.FirstID(at(1)), domain.FirstID(at(2))
	for _, c := range []struct{ bound, id, want domain.TaskID }{
		{domain.TaskID{}, low, low}, {low, domain.TaskID{}, low}, {low, high, low}, {high, low, low},
	} {
		if got := (domain.IDRange{Before: c.bound}).Below(c.id); got.Before != c.want {
			t.Errorf("%s below %s: %s", c.bound, c.id, got.Before)
		}
	}
}

func TestFirstID_IsBelowTheIDsOfItsMillisecondAndAboveEarlierOnes(t *testing.T) {
	for _, at := range []time.Time{start, start.Add(999 * time.Microsecond), time.UnixMilli(0), time.UnixMilli(1<<48 - 1)} {
		first, id := domain.FirstID(at), domain.NewTaskID(at)
		if bytes.Compare(first[:], id[:]) >= 0 {
			t.Errorf("%s is not below %s, made at %s", first, id, at)
		}
		if earlier := domain.NewTaskID(at.Truncate(time.Millisecond).Add(-1)); at.UnixMilli() > 0 && bytes.Compare(earlier[:], first[:]) >= 0 {
			t.Errorf("%s is not above %s, made before %s", first, earlier, at)
		}
	}
	if got := domain.FirstID(time.UnixMilli(-1)); got != (domain.TaskID{}) {
		t.Errorf("before 1970: %s", got)
	}
	if got := domain.FirstID(time.UnixMilli(1 << 48)); got != domain.TaskID(uuid.Max) {
		t.Errorf("after the last millisecond: %s", got)
	}
}
