package domain

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// The bounds of what a client says of a task.
const (
	MaxPriority      = 9
	MaxMaxAttempts   = 1000
	MinTimeout       = 100 * time.Millisecond
	MaxTimeout       = 7 * 24 * time.Hour
	MaxDelay         = 10 * 365 * 24 * time.Hour
	MaxMetadata      = 32  // pairs
	MaxMetadataKey   = 64  // bytes
	MaxMetadataValue = 512 // bytes
	MaxTraceState    = 512 // bytes
)

// TaskSpec is what a client asks for in a new task. A pointer is nil for what the
// client did not give, so that a zero value which was given is not taken for it.
type TaskSpec struct {
	Message     string
	Queue       *QueueName        // nil: DefaultQueue
	Priority    int               // 0 to MaxPriority: higher first within a queue
	RunAt       *time.Time        // not before; nil or past: now
	Delay       *time.Duration    // instead of RunAt: from now
	MaxAttempts *int              // 1 to MaxMaxAttempts; whoever makes a task sets it
	Timeout     *time.Duration    // of an attempt; nil: the worker's setting
	Metadata    map[string]string // for whoever looks the task up
	TraceParent string            // of the request, for the handler (W3C Trace Context); one that is malformed counts as none
	TraceState  string            // that goes with TraceParent; so does one that is longer than MaxTraceState
}

// check names everything that is wrong with the spec.
func (s TaskSpec) check(now time.Time) error {
	var wrong []FieldError
	bad := func(field, format string, args ...any) {
		wrong = append(wrong, FieldError{Field: field, Detail: fmt.Sprintf(format, args...)})
	}
	switch {
	case s.Message == "":
		bad("message", "must not be empty")
	case !validText(s.Message):
		bad("message", "%s", textFault(s.Message))
	}
	switch {
	case s.Queue == nil || s.Queue.valid():
	case *s.Queue == "":
		bad("queue", "must not be empty")
	default:
		bad("queue", "must be %s", queueNameRule)
	}
	if s.Priority < 0 || s.Priority > MaxPriority {
		bad("priority", "must be from 0 to %d, not %d", MaxPriority, s.Priority)
	}
	if s.RunAt != nil && s.Delay != nil {
		bad("delay", "cannot be combined with run_at")
	} else if s.Delay != nil && (*s.Delay < 0 || *s.Delay > MaxDelay) {
		bad("delay", "must be from 0 to %d seconds", MaxDelay/time.Second)
	}
	if s.RunAt != nil && s.RunAt.After(now.Add(MaxDelay)) {
		bad("run_at", "must be within the next ten years")
	}
	if n := s.maxAttempts(); n < 1 || n > MaxMaxAttempts {
		bad("max_attempts", "must be from 1 to %d, not %d", MaxMaxAttempts, n)
	}
	if s.Timeout != nil && (*s.Timeout < MinTimeout || *s.Timeout > MaxTimeout) {
		bad("timeout", "must be from %g to %d seconds", MinTimeout.Seconds(), MaxTimeout/time.Second)
	}
	wrong = append(wrong, checkMetadata(s.Metadata)...)
	if len(wrong) == 0 {
		return nil
	}
	return InvalidFields(wrong...)
}

func (s TaskSpec) maxAttempts() int {
	if s.MaxAttempts == nil {
		return 0
	}
	return *s.MaxAttempts
}

// checkMetadata says what is wrong with each pair, in the order of the keys' bytes. The
// field is the pair's, unless there are too many to look at.
func checkMetadata(pairs map[string]string) (wrong []FieldError) {
	if len(pairs) > MaxMetadata {
		return []FieldError{{Field: "metadata", Detail: fmt.Sprintf("must be at most %d pairs, not %d", MaxMetadata, len(pairs))}}
	}
	for key, value := range pairs {
		if detail := checkPair(key, value); detail != "" {
			wrong = append(wrong, FieldError{Field: "metadata/" + pointerEscapes.Replace(key), Detail: detail})
		}
	}
	slices.SortFunc(wrong, func(a, b FieldError) int { return strings.Compare(a.Field, b.Field) })
	return wrong
}

// pointerEscapes makes a name a part of a path as in RFC 6901, section 3.
var pointerEscapes = strings.NewReplacer("~", "~0", "/", "~1")

func checkPair(key, value string) string {
	switch {
	case !metadataKey(key):
		return fmt.Sprintf("invalid key %s; want 1 to %d of A-Z, a-z, 0-9, dot, underscore and hyphen", Quoted(key), MaxMetadataKey)
	case len(value) > MaxMetadataValue:
		return fmt.Sprintf("the value of %s must be at most %d bytes long, not %d", key, MaxMetadataValue, len(value))
	case !validText(value):
		return fmt.Sprintf("the value of %s must be valid UTF-8 without the NUL character (U+0000)", key)
	}
	return ""
}

func metadataKey(s string) bool {
	if s == "" || len(s) > MaxMetadataKey {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if ('a' > c || c > 'z') && ('A' > c || c > 'Z') && ('0' > c || c > '9') && !strings.ContainsRune("._-", rune(c)) {
			return false
		}
	}
	return true
}

// NewTask makes a pending task. One that may run at once is marked as queued from
// birth, so that a task which is pushed at once is written once; one whose time
// comes later is not, and waits in the store. A spec that is wrong is CodeInvalid,
// with all that is wrong with it: Message must be non-empty UTF-8 without NUL.
func NewTask(spec TaskSpec, now time.Time) (*Task, error) {
	now = Moment(now)
	if err := spec.check(now); err != nil {
		return nil, err
	}
	s := TaskState{
		ID: NewTaskID(now), Message: spec.Message, Status: StatusPending, MaxAttempts: spec.maxAttempts(),
		Queue: DefaultQueue, Priority: spec.Priority,
		CreatedAt: now, UpdatedAt: now, Version: 1, RunAt: now, QueuedAt: now,
	}
	if spec.Queue != nil {
		s.Queue = *spec.Queue
	}
	if spec.Timeout != nil {
		s.Timeout = Span(*spec.Timeout)
	}
	if len(spec.Metadata) > 0 {
		s.Metadata = maps.Clone(spec.Metadata)
	}
	s.TraceParent, s.TraceState = traceContext(spec.TraceParent, spec.TraceState)
	if at := spec.runAt(now); at.After(now) {
		s.RunAt, s.QueuedAt = at, time.Time{}
	}
	return &Task{s: s}, nil
}

// runAt is the time before which the task must not run.
func (s TaskSpec) runAt(now time.Time) time.Time {
	switch {
	case s.RunAt != nil:
		return Moment(*s.RunAt)
	case s.Delay != nil:
		return Moment(now.Add(*s.Delay))
	}
	return now
}

// traceContext is what a task keeps of a trace context: nothing without a parent, and no
// state that is too long or no header could carry.
func traceContext(parent, state string) (keptParent, keptState string) {
	if !validTraceParent(parent) {
		return "", ""
	}
	notPrintable := func(c rune) bool { return c < ' ' || c > '~' }
	if len(state) > MaxTraceState || strings.ContainsFunc(state, notPrintable) {
		return parent, ""
	}
	return parent, state
}

// validTraceParent reports whether s is a traceparent of version 00 (W3C Trace
// Context, section 3.2): version, trace id, parent id and flags in small hex
// digits, neither id all zeros.
func validTraceParent(s string) bool {
	const layout = "00-tttttttttttttttttttttttttttttttt-pppppppppppppppp-ff"
	if len(s) != len(layout) || s[:3] != "00-" {
		return false
	}
	for i := 3; i < len(s); i++ {
		digit := '0' <= s[i] && s[i] <= '9' || 'a' <= s[i] && s[i] <= 'f'
		if dash := layout[i] == '-'; dash != (s[i] == '-') || !dash && !digit {
			return false
		}
	}
	return strings.Trim(s[3:35], "0") != "" && strings.Trim(s[36:52], "0") != ""
}
