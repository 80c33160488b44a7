package domain_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/domain"
)

// made makes a task of a spec that is right but for what the change does to it.
func made(change func(*domain.TaskSpec)) (*domain.Task, error) {
	spec := domain.TaskSpec{Message: "m", MaxAttempts: new(3)}
	change(&spec)
	return domain.NewTask(spec, at(0))
}

// pairs makes so many pairs of metadata.
func pairs(n int) map[string]string {
	m := map[string]string{}
	for i := range n {
		m[fmt.Sprint("k", i)] = "v"
	}
	return m
}

func TestNewTask_TakesWhatIsWithinTheBounds(t *testing.T) {
	long := strings.Repeat("k", domain.MaxMetadataKey)
	for name, c := range map[string]struct {
		change func(*domain.TaskSpec)
		want   func(domain.TaskState) bool
	}{
		"no queue":       {func(*domain.TaskSpec) {}, func(s domain.TaskState) bool { return s.Queue == domain.DefaultQueue }},
		"a queue":        {func(s *domain.TaskSpec) { s.Queue = new(domain.QueueName("mail")) }, func(s domain.TaskState) bool { return s.Queue == "mail" }},
		"low priority":   {func(s *domain.TaskSpec) { s.Priority = 0 }, func(s domain.TaskState) bool { return s.Priority == 0 }},
		"high priority":  {func(s *domain.TaskSpec) { s.Priority = 9 }, func(s domain.TaskState) bool { return s.Priority == 9 }},
		"one attempt":    {func(s *domain.TaskSpec) { s.MaxAttempts = new(1) }, func(s domain.TaskState) bool { return s.MaxAttempts == 1 }},
		"many attempts":  {func(s *domain.TaskSpec) { s.MaxAttempts = new(1000) }, func(s domain.TaskState) bool { return s.MaxAttempts == 1000 }},
		"no timeout":     {func(*domain.TaskSpec) {}, func(s domain.TaskState) bool { return s.Timeout == 0 }},
		"short timeout":  {func(s *domain.TaskSpec) { s.Timeout = new(domain.MinTimeout) }, func(s domain.TaskState) bool { return s.Timeout == 100*time.Millisecond }},
		"long timeout":   {func(s *domain.TaskSpec) { s.Timeout = new(domain.MaxTimeout) }, func(s domain.TaskState) bool { return s.Timeout == 168*time.Hour }},
		"no metadata":    {func(s *domain.TaskSpec) { s.Metadata = pairs(0) }, func(s domain.TaskState) bool { return s.Metadata == nil }},
		"much metadata":  {func(s *domain.TaskSpec) { s.Metadata = pairs(32) }, func(s domain.TaskState) bool { return len(s.Metadata) == 32 }},
		"a long key":     {func(s *domain.TaskSpec) { s.Metadata = map[string]string{long: "v"} }, func(s domain.TaskState) bool { return s.Metadata[long] == "v" }},
		"every key byte": {func(s *domain.TaskSpec) { s.Metadata = map[string]string{"._-azAZ09": ""} }, func(s domain.TaskState) bool { return len(s.Metadata) == 1 }},
		"a long value": {
			func(s *domain.TaskSpec) { s.Metadata = map[string]string{"k": strings.Repeat("ä", 256)} },
			func(s domain.TaskState) bool { return len(s.Metadata["k"]) == domain.MaxMetadataValue },
		},
	} {
		task, err := made(c.change)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if !c.want(task.State()) {
			t.Errorf("%s: the task is %+v", name, task.State())
		}
	}
}

func TestNewTask_RefusesWhatIsOutOfBoundsByTheFieldsName(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*domain.TaskSpec)
		field  string
	}{
		"empty queue":         {func(s *domain.TaskSpec) { s.Queue = new(domain.QueueName("")) }, "queue"},
		"queue":               {func(s *domain.TaskSpec) { s.Queue = new(domain.QueueName("Mail")) }, "queue"},
		"priority below":      {func(s *domain.TaskSpec) { s.Priority = -1 }, "priority"},
		"priority above":      {func(s *domain.TaskSpec) { s.Priority = 10 }, "priority"},
		"attempts above":      {func(s *domain.TaskSpec) { s.MaxAttempts = new(1001) }, "max_attempts"},
		"no attempts":         {func(s *domain.TaskSpec) { s.MaxAttempts = new(0) }, "max_attempts"},
		"attempts unset":      {func(s *domain.TaskSpec) { s.MaxAttempts = nil }, "max_attempts"},
		"no timeout":          {func(s *domain.TaskSpec) { s.Timeout = new(time.Duration(0)) }, "timeout"},
		"timeout below":       {func(s *domain.TaskSpec) { s.Timeout = new(domain.MinTimeout - 1) }, "timeout"},
		"timeout negative":    {func(s *domain.TaskSpec) { s.Timeout = new(-time.Second) }, "timeout"},
		"timeout above":       {func(s *domain.TaskSpec) { s.Timeout = new(domain.MaxTimeout + 1) }, "timeout"},
		"delay negative":      {func(s *domain.TaskSpec) { s.Delay = new(time.Duration(-1)) }, "delay"},
		"delay above":         {func(s *domain.TaskSpec) { s.Delay = new(domain.MaxDelay + 1) }, "delay"},
		"run_at too late":     {func(s *domain.TaskSpec) { s.RunAt = new(at(0).Add(domain.MaxDelay + time.Microsecond)) }, "run_at"},
		"run_at and no delay": {func(s *domain.TaskSpec) { s.RunAt, s.Delay = new(time.Time{}), new(time.Duration(0)) }, "delay"},
		"run_at and delay":    {func(s *domain.TaskSpec) { s.RunAt, s.Delay = new(at(-1)), new(time.Second) }, "delay"},
		"too much metadata":   {func(s *domain.TaskSpec) { s.Metadata = pairs(33) }, "metadata"},
		"an empty key":        {func(s *domain.TaskSpec) { s.Metadata = map[string]string{"": "v"} }, "metadata/"},
		"a key too long":      {func(s *domain.TaskSpec) { s.Metadata = map[string]string{strings.Repeat("k", 65): "v"} }, "metadata/" + strings.Repeat("k", 65)},
		"a key with a space":  {func(s *domain.TaskSpec) { s.Metadata = map[string]string{"a b": "v"} }, "metadata/a b"},
		"a key not ASCII":     {func(s *domain.TaskSpec) { s.Metadata = map[string]string{"ä": "v"} }, "metadata/ä"},
		"a value too long":    {func(s *domain.TaskSpec) { s.Metadata = map[string]string{"k": strings.Repeat("v", 513)} }, "metadata/k"},
		"a value with NUL":    {func(s *domain.TaskSpec) { s.Metadata = map[string]string{"k": "a\x00"} }, "metadata/k"},
		"a value of no UTF-8": {func(s *domain.TaskSpec) { s.Metadata = map[string]string{"k": "\xff"} }, "metadata/k"},
	} {
		task, err := made(c.change)
		if task != nil {
			t.Errorf("%s: a task was made", name)
		}
		wantInvalid(t, err, c.field)
	}
}

func TestNewTask_NamesEverythingThatIsWrong(t *testing.T) {
	_, err := made(func(s *domain.TaskSpec) {
		*s = domain.TaskSpec{Queue: new(domain.QueueName("-")), Priority: 11, RunAt: new(at(1e9)), MaxAttempts: new(-1), Timeout: new(time.Duration(1)), Metadata: pairs(99)}
	})
	wantCode(t, err, domain.CodeInvalid)
	var fields []string
	for _, f := range domain.Public(err).Fields {
		fields = append(fields, f.Field)
		if !strings.Contains(err.Error(), f.Field+": "+f.Detail) {
			t.Errorf("the message %q does not tell of %+v", err, f)
		}
	}
	if want := []string{"message", "queue", "priority", "run_at", "max_attempts", "timeout", "metadata"}; !slices.Equal(fields, want) {
		t.Errorf("wrong are %v, want %v", fields, want)
	}
}

// Whoever repeats a request gets the same answer, whatever the order of a map.
func TestNewTask_NamesEachPairThatIsWrongInOrder(t *testing.T) {
	for range 50 {
		_, err := made(func(s *domain.TaskSpec) {
			s.Metadata = map[string]string{"c/d": "", "a~b": "", "b": "\x00", "good": "v"}
		})
		var fields []string
		for _, f := range domain.Public(err).Fields {
			fields = append(fields, f.Field)
		}
		if want := []string{"metadata/a~0b", "metadata/b", "metadata/c~1d"}; !slices.Equal(fields, want) {
			t.Fatalf("wrong are %q, want %q", fields, want)
		}
	}
}

func TestNewTask_WaitsForItsTimeUnmarked(t *testing.T) {
	for name, c := range map[string]struct {
		runAt *time.Time
		delay *time.Duration
		want  time.Time
		waits bool
	}{
		"at once":               {want: at(0)},
		"a time past":           {runAt: new(at(-1e6)), want: at(0)},
		"just now":              {runAt: new(at(0)), want: at(0)},
		"less than a moment":    {runAt: new(at(0).Add(999)), want: at(0)},
		"a moment later":        {runAt: new(at(0).Add(time.Microsecond)), want: at(0.000001), waits: true},
		"a time to come":        {runAt: new(at(60.0000019).In(time.FixedZone("", -3600))), want: at(60.000001), waits: true},
		"the latest":            {runAt: new(at(0).Add(domain.MaxDelay)), want: at(0).Add(domain.MaxDelay), waits: true},
		"a delay":               {delay: new(1500 * time.Millisecond), want: at(1.5), waits: true},
		"a delay of no moment":  {delay: new(time.Duration(1)), want: at(0)},
		"the longest delay":     {delay: new(domain.MaxDelay), want: at(0).Add(domain.MaxDelay), waits: true},
		"a time without a date": {runAt: new(time.Unix(0, 0)), want: at(0)},
	} {
		task, err := made(func(s *domain.TaskSpec) { s.RunAt, s.Delay = c.runAt, c.delay })
		must(t, err)
		s := task.State()
		if s.RunAt != c.want || s.QueuedAt.IsZero() != c.waits || !c.waits && s.QueuedAt != at(0) {
			t.Errorf("%s: runs at %s, queued at %s; want %s, waits: %t", name, s.RunAt, s.QueuedAt, c.want, c.waits)
		}
		if s.CreatedAt != at(0) || s.UpdatedAt != at(0) || s.Status != domain.StatusPending {
			t.Errorf("%s: %s, created at %s, updated at %s", name, s.Status, s.CreatedAt, s.UpdatedAt)
		}
		if _, err := domain.Restore(s); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNewTask_KeepsItsMetadataToItself(t *testing.T) {
	given := map[string]string{"user": "7"}
	task, err := made(func(s *domain.TaskSpec) { s.Metadata = given })
	must(t, err)
	given["user"] = "8"
	if got := task.State().Metadata["user"]; got != "7" {
		t.Errorf("the task's metadata has become %s", got)
	}
}

func TestNewTask_KeepsATraceParentThatIsOne(t *testing.T) {
	const good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for trace, want := range map[string]string{
		"":   "",
		good: good,
		"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00":   "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
		"01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01":   "", // another version
		"ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01":   "",
		"00-0AF7651916CD43DD8448EB211C80319C-B7AD6B7169203331-01":   "", // large letters
		"00-00000000000000000000000000000000-b7ad6b7169203331-01":   "", // no trace
		"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01":   "", // no parent
		"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0":    "", // too short
		"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x": "", // too long
		"00-0af7651916cd43dd8448eb211c80319g-b7ad6b7169203331-01":   "", // no hex digit
		"00-0af7651916cd43dd8448eb211c80319-cb7ad6b7169203331-01":   "", // a dash out of place
		"00-0af7651916cd43dd-448eb211c80319c-b7ad6b7169203331-01":   "",
		"00_0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331_01":   "",
		"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-\x00": "",
	} {
		task, err := made(func(s *domain.TaskSpec) { s.TraceParent = trace })
		must(t, err)
		if got := task.State().TraceParent; got != want {
			t.Errorf("of %q the task keeps %q", trace, got)
		}
	}
}

func TestNewTask_KeepsATraceStateThatAHeaderCanCarry(t *testing.T) {
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	longest := "a=" + strings.Repeat("b", domain.MaxTraceState-2)
	for _, c := range []struct{ parent, state, want string }{
		{parent, "a=b, c@d=e", "a=b, c@d=e"},
		{parent, longest, longest},
		{parent, longest + "b", ""},
		{parent, "a=b\nc: d", ""},
		{parent, "a=é", ""},
		{parent, "a=\x00", ""},
		{"", "a=b", ""}, // there is no trace
		{"none", "a=b", ""},
	} {
		task, err := made(func(s *domain.TaskSpec) { s.TraceParent, s.TraceState = c.parent, c.state })
		must(t, err)
		if got := task.State().TraceState; got != c.want {
			t.Errorf("of %q with %q the task keeps %q", c.state, c.parent, got)
		}
		other, err := made(func(s *domain.TaskSpec) { s.TraceParent, s.TraceState = parent, "x=y" })
		must(t, err)
		other.Follow(c.parent, c.state)
		if got := other.State(); got.TraceState != c.want || (got.TraceParent == parent) != (c.parent == parent) {
			t.Errorf("a task that follows %q with %q keeps %q with %q", c.state, c.parent, got.TraceState, got.TraceParent)
		}
	}
}

func TestTask_ClaimGivesTheTaskItsOwnTimeoutIfItHasOne(t *testing.T) {
	for name, c := range map[string]struct {
		own  *time.Duration
		want time.Duration
	}{
		"the worker's": {nil, time.Minute}, "its own": {new(2 * time.Second), 2 * time.Second}, "a longer one": {new(time.Hour), time.Hour},
	} {
		task, err := made(func(s *domain.TaskSpec) { s.Timeout = c.own })
		must(t, err)
		must(t, task.Claim(domain.Claim{Worker: "w", Timeout: time.Minute, Grace: 6 * time.Second}, at(0)))
		if got := task.TimeoutOr(time.Minute); got != c.want {
			t.Errorf("%s: an attempt may run %s, want %s", name, got, c.want)
		}
		if got, want := task.State().Deadline, at(6).Add(c.want); got != want {
			t.Errorf("%s: the deadline is %s, want %s", name, got, want)
		}
	}
}

func TestTask_IsDirtyUntilItsChangesAndItsMarkAreStored(t *testing.T) {
	task := newTask(t, 3)
	for _, step := range []struct {
		name string
		do   func() error
		want bool
	}{
		{"born", func() error { return nil }, true},
		{"stored", func() error { task.MarkStored(); return nil }, false},
		{"marked", func() error { return task.MarkQueued(at(1)) }, true}, // without a change of the version
		{"stored with the mark", func() error { task.MarkStored(); return nil }, false},
		{"claimed", func() error { return task.Claim(domain.Claim{Worker: "w", Timeout: time.Minute}, at(2)) }, true},
		{"stored by the claim", func() error { task.MarkStored(); return nil }, false},
		{"asked to stop", func() error { return task.RequestStop(at(3)) }, true},
		{"stored with it", func() error { task.MarkStored(); return nil }, false},
		{"asked again", func() error { return task.RequestStop(at(4)) }, false},
	} {
		must(t, step.do())
		if got := task.Dirty(); got != step.want {
			t.Errorf("%s: dirty is %t", step.name, got)
		}
	}
}
