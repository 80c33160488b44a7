package httpapi

import (
	"bytes"
	"math"
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"go.opentelemetry.io/otel/trace"

	"github.com/millrace/millrace/adapters/httpapi/internal/api"
	"github.com/millrace/millrace/application/usecase"
	"github.com/millrace/millrace/domain"
)

// decodeTask reads the body of a request for one task.
func decodeTask(body []byte, trace traceContext) (domain.TaskSpec, error) {
	var in api.NewTask
	if err := decodeObject(body, &in); err != nil {
		return domain.TaskSpec{}, err
	}
	if err := required(member{"message", in.Message.Given}); err != nil {
		return domain.TaskSpec{}, err
	}
	return taskSpec(&in, trace), nil
}

// decodeBatch reads the body of a request for many into in. If anything is wrong with
// a task, it reads the tasks again one by one, to name what is wrong with each.
func decodeBatch(body []byte, trace traceContext, in *usecase.SubmitTasksInput) error {
	tasks, err := decodeTasks(body, newTasks{trace: trace})
	if err != nil {
		tasks, err = decodeTasks(body, newTasks{trace: trace, oneByOne: true})
	}
	if err != nil {
		return err
	}
	if err := usecase.CheckBatchSize(tasks.count); err != nil {
		return err
	}
	in.Batch, in.Tasks, in.Unreadable = true, tasks.specs, tasks.unreadable
	return nil
}

func decodeTasks(body []byte, tasks newTasks) (newTasks, error) {
	out := struct {
		Tasks newTasks `json:"tasks"`
	}{tasks}
	if err := decodeObject(body, &out); err != nil {
		return out.Tasks, err
	}
	return out.Tasks, required(member{"tasks", out.Tasks.given})
}

// newTasks is the array of a batch. Tasks over the limit are only counted: many small
// ones must not take more memory than the body did.
type newTasks struct {
	trace    traceContext
	oneByOne bool // an error about a task is noted, and ends the reading of that one only

	given      bool
	count      int
	specs      []domain.TaskSpec
	unreadable map[int]domain.FieldError

	next api.NewTask // the one that is being read
}

// UnmarshalJSONFrom reads the array.
func (b *newTasks) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	b.given = true
	if err := api.ReadBegin(dec, jsontext.KindBeginArray); err != nil {
		return err
	}
	for dec.PeekKind() != jsontext.KindEndArray {
		var err error
		switch b.count++; {
		case b.count > usecase.MaxBatch:
			err = dec.SkipValue()
		case b.oneByOne:
			err = b.readApart(dec)
		default:
			err = b.read(dec)
		}
		if err != nil {
			return err
		}
	}
	_, err := dec.ReadToken()
	return err
}

func (b *newTasks) read(dec *jsontext.Decoder) error {
	b.next = api.NewTask{}
	if err := api.ReadObject(dec, &b.next); err != nil {
		return err
	}
	if !b.next.Message.Given {
		b.note(domain.FieldError{Field: "message", Detail: isRequired})
	}
	b.specs = append(b.specs, taskSpec(&b.next, b.trace))
	return nil
}

// readApart reads the text of the task, then its members.
func (b *newTasks) readApart(dec *jsontext.Decoder) error {
	text, err := dec.ReadValue()
	if err != nil {
		return err
	}
	task := newTasks{trace: b.trace}
	err = task.read(jsontext.NewDecoder(bytes.NewBuffer(text), json.RejectUnknownMembers(true)))
	if err != nil {
		at, detail, ok := wrongMember(err)
		if !ok {
			return err
		}
		b.note(domain.FieldError{Field: fieldOf(string(at)), Detail: detail})
		b.specs = append(b.specs, domain.TaskSpec{})
		return nil
	}
	if missing, ok := task.unreadable[0]; ok {
		b.note(missing)
	}
	b.specs = append(b.specs, task.specs...)
	return nil
}

// note keeps what is wrong with the task that is being read.
func (b *newTasks) note(f domain.FieldError) {
	if b.unreadable == nil {
		b.unreadable = map[int]domain.FieldError{}
	}
	b.unreadable[len(b.specs)] = f
}

// submission is what the header says about a request for new tasks.
func submission(r *http.Request) (usecase.SubmitTasksInput, error) {
	key, err := idempotencyKey(r.Header)
	return usecase.SubmitTasksInput{Owner: CredentialName(r.Context()), Key: key}, err
}

// traceContext is the trace that a request belongs to (W3C Trace Context).
type traceContext struct{ parent, state string }

// traceContextOf is that of the request. Two of Traceparent count as none; of Tracestate
// there may be many, which are one list. One that is malformed counts as none, too: the
// domain checks the parent.
func traceContextOf(r *http.Request) traceContext {
	parents := r.Header.Values("Traceparent")
	if len(parents) != 1 {
		return traceContext{}
	}
	state := strings.Join(r.Header.Values("Tracestate"), ",")
	if _, err := trace.ParseTraceState(state); err != nil {
		state = ""
	}
	return traceContext{parents[0], state}
}

func taskSpec(in *api.NewTask, trace traceContext) domain.TaskSpec {
	spec := domain.TaskSpec{
		Message: in.Message.Value, Priority: in.Priority.Value, RunAt: in.RunAt.Pointer(), MaxAttempts: in.MaxAttempts.Pointer(),
		Metadata: in.Metadata.Value, TraceParent: trace.parent, TraceState: trace.state,
	}
	if in.Queue.Given {
		spec.Queue = new(domain.QueueName(in.Queue.Value))
	}
	if in.Delay.Given {
		spec.Delay = new(seconds(in.Delay.Value))
	}
	if in.Timeout.Given {
		spec.Timeout = new(seconds(in.Timeout.Value))
	}
	return spec
}

// seconds is a duration of n seconds, or the nearest that there is. What is below
// zero stays below zero, however little it is.
func seconds(n float64) time.Duration {
	nanos := math.Round(n * 1e9)
	if n < 0 {
		nanos = math.Floor(n * 1e9)
	}
	switch {
	case nanos >= math.MaxInt64:
		return math.MaxInt64
	case nanos <= math.MinInt64:
		return math.MinInt64
	}
	return time.Duration(nanos)
}
