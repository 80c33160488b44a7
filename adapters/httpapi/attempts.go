package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/millrace/millrace/adapters/httpapi/internal/api"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/usecase"
	"github.com/millrace/millrace/domain"
)

// ListAttempts is GET /tasks/{id}/attempts.
func (e *endpoints) ListAttempts(w http.ResponseWriter, r *http.Request, id string) {
	e.handle(w, r, func() error {
		taskID, err := parseID(id)
		if err != nil {
			return err
		}
		attempts, err := withStoreSlot(r.Context(), e, application.CallRead, func(ctx context.Context) ([]domain.Attempt, error) { return e.uc.Attempts.Run(ctx, taskID) })
		if err != nil {
			return err
		}
		out := api.AttemptList{Attempts: make([]api.Attempt, len(attempts))}
		for i, a := range attempts {
			out.Attempts[i] = attemptToJSON(a)
		}
		writeJSON(w, http.StatusOK, typeJSON, out)
		return nil
	})
}

func attemptToJSON(a domain.Attempt) api.Attempt {
	return api.Attempt{
		Number: a.Number, Worker: string(a.Worker), StartedAt: a.StartedAt, EndedAt: nonZero(a.EndedAt),
		Outcome: string(a.Outcome), Error: a.Error,
	}
}

// ExplainTask is GET /tasks/{id}/explain.
func (e *endpoints) ExplainTask(w http.ResponseWriter, r *http.Request, id string) {
	e.handle(w, r, func() error {
		taskID, err := parseID(id)
		if err != nil {
			return err
		}
		found, err := withStoreSlot(r.Context(), e, application.CallRead, func(ctx context.Context) (usecase.ExplainResult, error) { return e.uc.Explain.Run(ctx, taskID) })
		if err != nil {
			return err
		}
		s := found.Task.State()
		out := api.Explanation{
			Task: [16]byte(s.ID), Status: api.TaskStatus(s.Status), Queue: string(s.Queue),
			Reasons: make([]api.Reason, len(found.Reasons)),
		}
		for i, e := range found.Reasons {
			out.Reasons[i] = api.Reason{
				Reason: string(e.Reason), Text: sentence(out, e), At: nonZero(e.At), Ahead: nonZero(e.Ahead), Limit: e.Limit,
			}
		}
		writeJSON(w, http.StatusOK, typeJSON, out)
		return nil
	})
}

// sentence puts a reason into words.
func sentence(task api.Explanation, e usecase.Explanation) string {
	at := e.At.UTC().Format(timeLayout)
	switch e.Reason {
	case usecase.ReasonEnded:
		return fmt.Sprintf("The task has been %s since %s.", task.Status, at)
	case usecase.ReasonRunning:
		return fmt.Sprintf("A worker is processing the task; it has until %s.", at)
	case usecase.ReasonScheduled:
		return fmt.Sprintf("The task is scheduled for %s.", at)
	case usecase.ReasonRetry:
		return fmt.Sprintf("An attempt failed; the task will be retried at %s.", at)
	case usecase.ReasonDue:
		return "The task is due and about to be queued."
	case usecase.ReasonNoWorker:
		return fmt.Sprintf("No live worker serves the queue %s.", task.Queue)
	case usecase.ReasonStuck:
		return stuck(e.Stuck, task.Queue)
	case usecase.ReasonBusy:
		return busy(e)
	case usecase.ReasonPaused:
		return fmt.Sprintf("The queue %s is paused.", task.Queue)
	case usecase.ReasonLimit:
		return fmt.Sprintf("The queue %s is at its max_running of %s.", task.Queue, e.Limit)
	case usecase.ReasonRate:
		return fmt.Sprintf("The queue %s is at its rate of %s; the next task may start at %s.", task.Queue, e.Limit, at)
	case usecase.ReasonRefused:
		if e.Detail != "" {
			return fmt.Sprintf("The store takes no tasks: %s.", strings.TrimSuffix(e.Detail, "."))
		}
		return "The store takes no tasks; they will run once it does."
	case usecase.ReasonQueueAway:
		if e.Detail != "" {
			return fmt.Sprintf("The queue server does not do its work: %s.", strings.TrimSuffix(e.Detail, "."))
		}
		return "The queue server is not responding; tasks will run once it is back."
	case usecase.ReasonBehind:
		return ahead(e.Ahead, task.Queue)
	case usecase.ReasonStranded:
		return fmt.Sprintf("The task's entry in the queue %s was lost; it will be queued again by %s.", task.Queue, at)
	case usecase.ReasonNext:
		return "The task is next: a worker will take it as soon as it has a free slot."
	}
	return fmt.Sprintf("The reason is %s.", e.Reason)
}

func stuck(handlers int, queue string) string {
	those := "too many handlers" // the number was read before there were any
	if handlers > 0 {
		those = fmt.Sprintf("%d handlers", handlers)
	}
	return fmt.Sprintf("The workers of queue %s take no tasks: %s have not returned after their context ended.", queue, those)
}

func busy(e usecase.Explanation) string {
	those := "the 1 worker that takes"
	if e.Workers != 1 {
		those = fmt.Sprintf("the %d workers that take", e.Workers)
	}
	if e.Kept == 0 {
		return fmt.Sprintf("All %d slots of %s this queue are in use.", e.Slots, those)
	}
	return fmt.Sprintf("All %d slots that this queue may use of %s it are in use (kept for others: %d).",
		e.Slots, those, e.Kept)
}

func ahead(n int, queue string) string {
	switch {
	case n == 1:
		return fmt.Sprintf("1 task in the queue %s is ahead of it.", queue)
	case n >= usecase.MaxAhead:
		return fmt.Sprintf("At least %d tasks in the queue %s are ahead of it.", n, queue)
	}
	return fmt.Sprintf("%d tasks in the queue %s are ahead of it.", n, queue)
}
