package httpapi

import (
	"errors"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/millrace/millrace/adapters/httpapi/internal/api"
	"github.com/millrace/millrace/application/usecase"
	"github.com/millrace/millrace/domain"
)

// decodeTask reads the body of a request for one task.
func decodeTask(body []byte) (api.NewTask, error) {
	var in api.NewTask
	if decodePlain(body, &in) && in.Message != "" {
		return in, nil
	}
	in = api.NewTask{}
	err := decodeObject(body, &in, "message")
	return in, err
}

// decodeBatch reads the body of a request for many, and names what is wrong with
// each of them.
func decodeBatch(body []byte, trace string) (specs []domain.TaskSpec, wrong []api.ProblemError, err error) {
	var plain struct {
		Tasks plainBatch `json:"tasks"`
	}
	if decodePlain(body, &plain) && plain.Tasks.complete() {
		specs, wrong = plain.Tasks.specs(trace)
		return specs, wrong, nil
	}
	return decodeEach(body, trace)
}

// decodeEach reads the tasks one by one, so that it can tell of each what is wrong.
func decodeEach(body []byte, trace string) (specs []domain.TaskSpec, wrong []api.ProblemError, err error) {
	var in struct {
		Tasks batch `json:"tasks"`
	}
	if err := decodeObject(body, &in, "tasks"); err != nil {
		return nil, nil, err
	}
	return in.Tasks.specs(trace)
}

// plainBatch is the array of a batch that has nothing wrong with it as JSON.
type plainBatch []api.NewTask

// errNotPlain leaves a batch to decodeEach.
var errNotPlain = errors.New("no array of as many tasks as there may be")

// UnmarshalJSONFrom reads the array, if it is one of at most MaxBatch tasks.
func (b *plainBatch) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if dec.PeekKind() != jsontext.KindBeginArray {
		return errNotPlain
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	for dec.PeekKind() != jsontext.KindEndArray {
		if len(*b) == usecase.MaxBatch {
			return errNotPlain
		}
		*b = append(*b, api.NewTask{})
		if err := json.UnmarshalDecode(dec, &(*b)[len(*b)-1]); err != nil {
			return err
		}
	}
	_, err := dec.ReadToken()
	return err
}

// complete reports whether there are tasks, and each has a message.
func (b plainBatch) complete() bool {
	return len(b) > 0 && !slices.ContainsFunc(b, func(t api.NewTask) bool { return t.Message == "" })
}

func (b plainBatch) specs(trace string) (specs []domain.TaskSpec, wrong []api.ProblemError) {
	specs = make([]domain.TaskSpec, len(b))
	for i, task := range b {
		var errs []api.ProblemError
		specs[i], errs = specOf(task, trace)
		wrong = append(wrong, inBatch(i, errs)...)
	}
	return specs, wrong
}

// batch is the array of a batch. Of more than there may be it only counts how
// many, so that many small ones take no more memory than the body did.
type batch struct {
	tasks []jsontext.Value
	count int
}

// UnmarshalJSONFrom reads the array.
func (b *batch) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	if kind := dec.PeekKind(); kind != jsontext.KindBeginArray {
		return wrongValue("must be an array, not " + kindWord(kind))
	}
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	for dec.PeekKind() != jsontext.KindEndArray {
		if b.count++; b.count > usecase.MaxBatch {
			if err := dec.SkipValue(); err != nil {
				return err
			}
			continue
		}
		v, err := dec.ReadValue()
		if err != nil {
			return err
		}
		b.tasks = append(b.tasks, v.Clone())
	}
	_, err := dec.ReadToken()
	return err
}

func (*batch) readsNull() {}

// specs reads the tasks, and names what is wrong with each of them.
func (b *batch) specs(trace string) (specs []domain.TaskSpec, wrong []api.ProblemError, err error) {
	if b.count > usecase.MaxBatch {
		return nil, nil, domain.Invalid("tasks", "must be 1 to %d tasks, not %d", usecase.MaxBatch, b.count)
	}
	specs = make([]domain.TaskSpec, len(b.tasks))
	for i, text := range b.tasks {
		var task api.NewTask
		var errs []api.ProblemError
		if err := decodeMembers(text, "", &task, "message"); err != nil {
			errs = problemOf(err).errors
			specs[i] = domain.TaskSpec{Message: "unread"} // nothing more is wrong with it
		} else {
			specs[i], errs = specOf(task, trace)
		}
		wrong = append(wrong, inBatch(i, errs)...)
	}
	return specs, wrong, nil
}

// inBatch makes errors about a task errors about a batch.
func inBatch(i int, errs []api.ProblemError) []api.ProblemError {
	for k := range errs {
		errs[k].Pointer = "/tasks/" + strconv.Itoa(i) + errs[k].Pointer
	}
	return errs
}
