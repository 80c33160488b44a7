package httpapi

import (
	"fmt"
	"net/http"

	"github.com/millrace/millrace/adapters/httpapi/internal/api"
	"github.com/millrace/millrace/application/usecase"
)

// ExplainTask is GET /tasks/{id}/explain.
func (h *handlers) ExplainTask(w http.ResponseWriter, r *http.Request, id string) {
	taskID, err := parseID(id)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	found, err := stored(r.Context(), h, h.uc.Explain.Run, taskID)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	s := found.Task.State()
	out := api.Explanation{
		Task: [16]byte(s.ID), Status: api.TaskStatus(s.Status), Queue: string(s.Queue),
		Reasons: make([]api.Reason, len(found.Reasons)),
	}
	for i, e := range found.Reasons {
		out.Reasons[i] = api.Reason{
			Reason: string(e.Reason), Text: sentence(out, e), At: given(e.At), Ahead: given(e.Ahead), Limit: e.Limit,
		}
	}
	writeJSON(w, http.StatusOK, typeJSON, out)
}

// sentence is the reason in words.
func sentence(task api.Explanation, e usecase.Explanation) string {
	at := e.At.UTC().Format(timeLayout)
	switch e.Reason {
	case usecase.ReasonEnded:
		return fmt.Sprintf("The task is %s, since %s.", task.Status, at)
	case usecase.ReasonRunning:
		return fmt.Sprintf("A worker processes the task; it may take until %s.", at)
	case usecase.ReasonScheduled:
		return fmt.Sprintf("The task is not to run before %s.", at)
	case usecase.ReasonRetry:
		return fmt.Sprintf("An attempt has failed; the task is tried again at %s.", at)
	case usecase.ReasonDue:
		return "The time of the task has come; it is about to be queued."
	case usecase.ReasonNoWorker:
		return fmt.Sprintf("No live worker takes the queue %s.", task.Queue)
	case usecase.ReasonPaused:
		return fmt.Sprintf("The queue %s is paused.", task.Queue)
	case usecase.ReasonLimit:
		return fmt.Sprintf("As many tasks of the queue %s run as may at once: %s.", task.Queue, e.Limit)
	case usecase.ReasonRate:
		return fmt.Sprintf("The queue %s has started as many tasks as its rate of %s allows; the next may start at %s.", task.Queue, e.Limit, at)
	case usecase.ReasonQueueAway:
		return "The queue server does not answer; tasks run once it is back."
	case usecase.ReasonBehind:
		return before(e.Ahead, task.Queue)
	case usecase.ReasonStranded:
		return fmt.Sprintf("The entry of the task in the queue %s was lost; it is queued again by %s.", task.Queue, at)
	case usecase.ReasonNext:
		return "Nothing is in the way of the task: the next worker with room takes it."
	}
	return fmt.Sprintf("The reason is %s.", e.Reason)
}

func before(n int, queue string) string {
	switch {
	case n == 1:
		return fmt.Sprintf("1 task of the queue %s is before it.", queue)
	case n >= usecase.MaxAhead:
		return fmt.Sprintf("At least %d tasks of the queue %s are before it.", n, queue)
	}
	return fmt.Sprintf("%d tasks of the queue %s are before it.", n, queue)
}
