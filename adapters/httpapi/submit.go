package httpapi

import (
	"fmt"
	"math"
	"net/http"
	"time"

	"github.com/millrace/millrace/adapters/httpapi/internal/api"
	"github.com/millrace/millrace/application/usecase"
	"github.com/millrace/millrace/domain"
)

// SubmitTask is POST /tasks.
func (h *handlers) SubmitTask(w http.ResponseWriter, r *http.Request, _ api.SubmitTaskParams) {
	in, err := submission(r)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	body, err := h.read(h.bodyLimit, w, r, typeJSON)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	task, err := decodeTask(body)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	spec, wrong := specOf(task, traceParent(r))
	in.Tasks = []domain.TaskSpec{spec}
	done, err := h.submit(w, r, in, wrong)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	t := done.Tasks[0]
	w.Header().Set("Location", "/tasks/"+t.ID().String())
	writeTask(w, http.StatusCreated, t)
}

// SubmitBatch is POST /tasks/batch.
func (h *handlers) SubmitBatch(w http.ResponseWriter, r *http.Request, _ api.SubmitBatchParams) {
	// As with requests at large, one that only dribbles its body has to give way.
	if !h.batches.take() && (!h.batchUploads.cutLongest() || !h.batches.takeSoon()) {
		h.fail(w, r, overloaded.because("too many batches are under way; nothing was done"))
		return
	}
	defer h.batches.leave()
	in, err := submission(r)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	h.batchUploads.begin(w)
	body, err := h.read(h.batchLimit, w, r, typeJSON)
	h.batchUploads.end(w)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	in.Batch = true
	var wrong []api.ProblemError
	if in.Tasks, wrong, err = decodeBatch(body, traceParent(r)); err != nil {
		h.fail(w, r, err)
		return
	}
	done, err := h.submit(w, r, in, wrong)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	writeTasks(w, http.StatusCreated, done.Tasks, "", 0)
}

// submission is what the header says of a request for new tasks.
func submission(r *http.Request) (usecase.SubmitTasksInput, error) {
	key, err := idempotencyKey(r.Header)
	return usecase.SubmitTasksInput{Owner: CredentialName(r.Context()), Key: key}, err
}

// traceParent is the trace that the request belongs to. Two of them say nothing.
func traceParent(r *http.Request) string {
	if values := r.Header.Values("Traceparent"); len(values) == 1 {
		return values[0]
	}
	return ""
}

// submit stores the tasks, unless something was found to be wrong with them
// already: then it is told with all that is.
func (h *handlers) submit(w http.ResponseWriter, r *http.Request, in usecase.SubmitTasksInput, wrong []api.ProblemError) (usecase.SubmitResult, error) {
	if len(wrong) > 0 {
		if err := h.uc.Submit.Check(in); err != nil {
			wrong = append(wrong, problemOf(err).errors...)
		}
		return usecase.SubmitResult{}, invalid.with(wrong...)
	}
	done, err := stored(r.Context(), h, h.uc.Submit.Run, in)
	if done.Replayed {
		w.Header().Set(headerReplayed, "true")
	}
	return done, err
}

// specOf is what the client says of a task, and what is wrong with it that only
// shows here: to the domain, what is left out is zero.
func specOf(in api.NewTask, trace string) (domain.TaskSpec, []api.ProblemError) {
	var wrong []api.ProblemError
	spec := domain.TaskSpec{Message: in.Message, Metadata: in.Metadata, TraceParent: trace}
	if in.Queue != nil {
		if spec.Queue = domain.QueueName(*in.Queue); spec.Queue == "" {
			wrong = append(wrong, wrongField("/queue", "must not be empty"))
		}
	}
	if in.Priority != nil {
		spec.Priority = *in.Priority
	}
	if in.RunAt != nil {
		spec.RunAt = *in.RunAt
	}
	switch {
	case in.Delay != nil && in.RunAt != nil:
		wrong = append(wrong, wrongField("/delay", "cannot be combined with run_at"))
	case in.Delay != nil:
		spec.Delay = seconds(*in.Delay)
	}
	if in.MaxAttempts != nil {
		if spec.MaxAttempts = *in.MaxAttempts; spec.MaxAttempts == 0 {
			wrong = append(wrong, wrongField("/max_attempts", fmt.Sprintf("must be from 1 to %d, not 0", domain.MaxMaxAttempts)))
		}
	}
	if in.Timeout != nil {
		if spec.Timeout = seconds(*in.Timeout); spec.Timeout == 0 {
			spec.Timeout = 1 // too short, as 0 is: but 0 means the worker's setting
		}
	}
	return spec, wrong
}

// seconds is a duration of so many seconds. What no duration can hold becomes one
// that no limit allows; so does what is below zero, however little.
func seconds(n float64) time.Duration {
	switch {
	case n < 0:
		return -1
	case n >= math.MaxInt64/1e9:
		return math.MaxInt64
	}
	return time.Duration(math.Round(n * 1e9))
}
