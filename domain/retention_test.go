package domain_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/millrace/millrace/domain"
)

const (
	day     = 24 * time.Hour
	forever = domain.KeepForever
)

func TestParseKeep_ReadsWhatStringSpells(t *testing.T) {
	for text, want := range map[string]domain.Keep{
		"1s": domain.Keep(time.Second), "7d": domain.Keep(7 * day), "36h": domain.Keep(36 * time.Hour), "90m": domain.Keep(90 * time.Minute),
		"1d12h": domain.Keep(36 * time.Hour), "1d1h1m1s": domain.Keep(25*time.Hour + 61*time.Second), "3650d": domain.Keep(domain.MaxKeep),
		"0d5s": domain.Keep(5 * time.Second), "never": forever,
	} {
		got, err := domain.ParseKeep(text)
		must(t, err)
		again, err := domain.ParseKeep(got.String())
		must(t, err)
		if got != want || again != want {
			t.Errorf("%s is read as %d and spelled %s, want %d", text, got, got, want)
		}
	}
	for _, text := range []string{
		"", "0s", "0d", "d", "7", "-7d", "+7d", "1.5d", "7d ", " 7d", "7 d", "7D", "1h1d", "500ms", "1us", "3651d", "3650d1s", "Never",
		"999999999d", "999999999h999999999m", "9999999999d", "7d7d", "forever", "7d\n",
	} {
		got, err := domain.ParseKeep(text)
		if got != 0 {
			t.Errorf("%q is read as %d", text, got)
		}
		wantInvalid(t, err, "retention")
	}
	rapid.Check(t, func(t *rapid.T) {
		want := domain.Keep(rapid.Int64Range(1, int64(domain.MaxKeep/time.Second)).Draw(t, "seconds")) * domain.Keep(time.Second)
		if got, err := domain.ParseKeep(want.String()); err != nil || got != want {
			t.Fatalf("%s is read as %d, %v; want %d", want, got, err, want)
		}
	})
}

func TestParseRetention(t *testing.T) {
	for text, want := range map[string]domain.Retention{
		"completed=7d,canceled=1h,failed=never": {domain.Keep(7 * day), domain.Keep(time.Hour), forever},
		"failed=1d, completed=2d":               {domain.Keep(2 * day), 0, domain.Keep(day)},
		"never":                                 {forever, forever, forever},
		"90d":                                   {domain.Keep(90 * day), domain.Keep(90 * day), domain.Keep(90 * day)},
	} {
		got, err := domain.ParseRetention(text)
		must(t, err)
		if got != want {
			t.Errorf("%q is read as %+v", text, got)
		}
	}
	for _, text := range []string{
		"", ",", "completed", "completed=", "completed=x", "pending=7d", "completed=7d,", "completed=7d,completed=8d", "completed=7d;failed=1d",
		"Completed=7d", "completed=0s",
	} {
		got, err := domain.ParseRetention(text)
		if got != (domain.Retention{}) {
			t.Errorf("%q is read as %+v", text, got)
		}
		wantInvalid(t, err, "retention")
	}
}

func TestRetentionRules_ATaskExpiresAsItSaysItselfOrElseItsQueueOrElseTheDefault(t *testing.T) {
	rules := domain.RetentionRules{
		Default: domain.Retention{Completed: domain.Keep(10 * time.Second), Canceled: forever, Failed: domain.Keep(30 * time.Second)},
		Queues:  map[domain.QueueName]domain.Retention{"mail": {Completed: domain.Keep(5 * time.Second), Failed: forever}},
	}
	for name, c := range map[string]struct {
		candidate domain.PurgeCandidate
		seconds   float64 // after its end; 0: never
	}{
		"completed":              {domain.PurgeCandidate{Status: domain.StatusCompleted}, 10},
		"canceled":               {domain.PurgeCandidate{Status: domain.StatusCanceled}, 0},
		"failed":                 {domain.PurgeCandidate{Status: domain.StatusFailed}, 30},
		"pending":                {domain.PurgeCandidate{Status: domain.StatusPending}, 0},
		"processing":             {domain.PurgeCandidate{Status: domain.StatusProcessing, Retention: time.Second}, 0},
		"unknown":                {domain.PurgeCandidate{Status: "done", Retention: time.Second}, 0},
		"its queue's":            {domain.PurgeCandidate{Queue: "mail", Status: domain.StatusCompleted}, 5},
		"never by its queue":     {domain.PurgeCandidate{Queue: "mail", Status: domain.StatusFailed}, 0},
		"not set of its queue":   {domain.PurgeCandidate{Queue: "mail", Status: domain.StatusCanceled}, 0},
		"its own":                {domain.PurgeCandidate{Queue: "mail", Status: domain.StatusCompleted, Retention: 7 * time.Second}, 7},
		"its own, never else":    {domain.PurgeCandidate{Queue: "mail", Status: domain.StatusFailed, Retention: time.Minute}, 60},
		"its own out of range":   {domain.PurgeCandidate{Status: domain.StatusFailed, Retention: domain.MaxKeep + time.Second}, 0},
		"its key remembered":     {domain.PurgeCandidate{Status: domain.StatusCompleted, KeyedUntil: at(15)}, 15},
		"its key forgotten":      {domain.PurgeCandidate{Status: domain.StatusCompleted, KeyedUntil: at(9)}, 10},
		"its key, and never":     {domain.PurgeCandidate{Status: domain.StatusCanceled, KeyedUntil: at(9)}, 0},
		"its end out of range":   {domain.PurgeCandidate{Status: domain.StatusCompleted, UpdatedAt: domain.EarliestTime.Add(-time.Hour)}, 0},
		"its key's out of range": {domain.PurgeCandidate{Status: domain.StatusCompleted, KeyedUntil: domain.LatestTime.Add(time.Hour)}, 0},
	} {
		if c.candidate.UpdatedAt.IsZero() {
			c.candidate.UpdatedAt = at(0)
		}
		got, expires := rules.ExpiresAt(c.candidate)
		if want := at(c.seconds); expires != (c.seconds > 0) || expires && !got.Equal(want) {
			t.Errorf("%s: expires at %s, %v; want %s", name, got, expires, want)
		}
	}
	if got, expires := (domain.RetentionRules{}).ExpiresAt(domain.PurgeCandidate{Status: domain.StatusFailed, UpdatedAt: at(0)}); expires {
		t.Errorf("without any rule, expires at %s", got)
	}
}

func TestRetentionRules_Shortest(t *testing.T) {
	week := domain.Keep(7 * day)
	for name, c := range map[string]struct {
		rules domain.RetentionRules
		want  domain.Keep
	}{
		"nothing said": {domain.RetentionRules{}, forever},
		"never":        {domain.RetentionRules{Default: domain.Retention{Completed: forever, Canceled: forever, Failed: forever}}, forever},
		"the default":  {domain.RetentionRules{Default: domain.Retention{Completed: forever, Canceled: week, Failed: 2 * week}}, week},
		"a queue's": {domain.RetentionRules{
			Default: domain.Retention{Completed: week, Canceled: week, Failed: week},
			Queues:  map[domain.QueueName]domain.Retention{"a": {Failed: forever}, "b": {Completed: domain.Keep(day)}},
		}, domain.Keep(day)},
	} {
		if got := c.rules.Shortest(); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestNewTask_IsKeptForAsLongAsItSays(t *testing.T) {
	for _, keep := range []time.Duration{domain.MinKeep, time.Hour, domain.MaxKeep} {
		task, err := domain.NewTask(domain.TaskSpec{Message: "m", MaxAttempts: new(3), Retention: &keep, KeyedUntil: at(5)}, at(0))
		must(t, err)
		if s := task.State(); s.Retention != keep || !s.KeyedUntil.Equal(at(5)) {
			t.Errorf("%s: kept for %s, and its key until %s", keep, s.Retention, s.KeyedUntil)
		}
	}
	for _, keep := range []time.Duration{-time.Second, 0, time.Second - 1, domain.MaxKeep + 1} {
		_, err := domain.NewTask(domain.TaskSpec{Message: "m", MaxAttempts: new(3), Retention: &keep}, at(0))
		wantInvalid(t, err, "retention")
	}
}

func TestQueueSettings_ChangeSetsTheRetentionThatItNames(t *testing.T) {
	week := domain.Keep(7 * day)
	q := domain.QueueSettings{Retention: domain.Retention{Completed: week, Failed: week}}
	must(t, q.Change(domain.QueueChange{Retention: map[domain.Status]domain.Keep{domain.StatusFailed: 0, domain.StatusCanceled: forever}}))
	want := domain.Retention{Completed: week, Canceled: forever}
	if q.Retention != want {
		t.Errorf("changed to %+v, want %+v", q.Retention, want)
	}
	for _, change := range []map[domain.Status]domain.Keep{
		{domain.StatusPending: week}, {domain.StatusFailed: -1}, {domain.StatusFailed: domain.Keep(domain.MaxKeep + 1)}, {"": 0},
	} {
		change[domain.StatusCompleted] = forever
		wantInvalid(t, q.Change(domain.QueueChange{Retention: change}), "retention")
		if q.Retention != want {
			t.Errorf("a change that is refused has changed it to %+v", q.Retention)
		}
	}
}
