package httpapi

import (
	"net/http/httptest"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"pgregory.net/rapid"

	"github.com/millrace/millrace/adapters/httpapi/internal/api"
	"github.com/millrace/millrace/domain"
)

// toJSON is the task as openapi.yaml has it.
func toJSON(t *domain.Task, rules domain.RetentionRules) api.Task {
	s := t.State()
	out := api.Task{
		ID:          [16]byte(s.ID),
		Message:     s.Message,
		Status:      api.TaskStatus(s.Status),
		CreatedAt:   s.CreatedAt,
		UpdatedAt:   s.UpdatedAt,
		Attempt:     s.Attempt,
		Failures:    s.Failures,
		MaxAttempts: s.MaxAttempts,
		LastError:   s.LastError,
		RunAt:       s.RunAt,
		Result:      s.Result,
		Queue:       string(s.Queue),
		Priority:    s.Priority,
		Timeout:     nonZero(s.Timeout.Seconds()),
		Retention:   nonZero(s.Retention.Seconds()),
		Metadata:    s.Metadata,
	}
	if s.ResultTruncated {
		out.ResultTruncated = &s.ResultTruncated
	}
	if s.ResultAltered {
		out.ResultAltered = &s.ResultAltered
	}
	if !s.StartedAt.IsZero() {
		out.StartedAt = &s.StartedAt
	}
	if at, ended := t.FinishedAt(); ended {
		out.FinishedAt = &at
	}
	if at, expires := rules.ExpiresAt(t.PurgeCandidate()); expires {
		out.ExpiresAt = &at
	}
	if t.StopRequested() {
		out.CancelRequestedAt = &s.StopRequestedAt
	}
	return out
}

// drawText makes any text that PostgreSQL can hold.
func drawText(t *rapid.T, label string) string {
	special := rapid.SampledFrom([]rune("<>&'\"\\/\b\f\n\r\t\x01\x1f\x7f\u0080\u2028\u2029\ud7ff\ue000\ufffd\uffff\U0001f600\U0010ffff"))
	return rapid.StringOf(rapid.OneOf(special, rapid.Rune().Filter(func(r rune) bool { return r != 0 }))).Draw(t, label)
}

// drawTime makes a time that a task can have, in any zone.
func drawTime(t *rapid.T, label string) time.Time {
	first, last := domain.EarliestTime, domain.LatestTime.Add(-time.Hour)
	zone := time.FixedZone("", rapid.IntRange(-12, 12).Draw(t, "zone")*3600)
	return time.Unix(rapid.Int64Range(first.Unix(), last.Unix()).Draw(t, label), rapid.Int64Range(0, 999_999).Draw(t, "micros")*1000).In(zone)
}

// drawTask makes a task of any state.
func drawTask(t *rapid.T) *domain.Task {
	s := domain.TaskState{
		Message: "m" + drawText(t, "message"), Queue: domain.QueueName(rapid.StringMatching("[a-z0-9][a-z0-9._-]{0,63}").Draw(t, "queue")),
		Priority: rapid.IntRange(0, domain.MaxPriority).Draw(t, "priority"), Status: rapid.SampledFrom(domain.Statuses()).Draw(t, "status"),
		CreatedAt: drawTime(t, "created"), RunAt: drawTime(t, "run"), Version: 1, MaxAttempts: rapid.IntRange(1, domain.MaxMaxAttempts).Draw(t, "most"),
		Attempt: rapid.IntRange(1, 1e9).Draw(t, "attempt"), StartedAt: drawTime(t, "started"), LastError: drawText(t, "error"),
	}
	copy(s.ID[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
	s.UpdatedAt = s.CreatedAt.Add(time.Duration(rapid.Int64Range(0, 1e9).Draw(t, "age")) * time.Microsecond)
	s.Failures = rapid.IntRange(0, s.Attempt).Draw(t, "failures")
	maybe := rapid.Bool()
	if maybe.Draw(t, "with timeout") {
		s.Timeout = time.Duration(rapid.Int64Range(0, int64(domain.MaxTimeout/time.Microsecond)).Draw(t, "timeout")) * time.Microsecond
	}
	if maybe.Draw(t, "with retention") {
		s.Retention = time.Duration(rapid.Int64Range(1, int64(domain.MaxKeep/time.Microsecond)).Draw(t, "retention")) * time.Microsecond
	}
	if maybe.Draw(t, "with metadata") {
		s.Metadata = rapid.MapOfN(rapid.StringMatching("[A-Za-z0-9._-]{1,64}"), rapid.Custom(func(t *rapid.T) string { return drawText(t, "value") }), 0, 4).Draw(t, "metadata")
	}
	switch s.Status {
	case domain.StatusPending:
		if maybe.Draw(t, "new") {
			s.Attempt, s.Failures, s.StartedAt = 0, 0, time.Time{}
		}
	case domain.StatusProcessing:
		s.Worker, s.Deadline = "w", drawTime(t, "deadline")
	case domain.StatusCompleted:
		s.Worker, s.Result, s.ResultTruncated = "w", drawText(t, "result"), maybe.Draw(t, "truncated")
		s.ResultAltered = maybe.Draw(t, "altered")
	}
	if (s.Status == domain.StatusProcessing || s.Status == domain.StatusCanceled) && maybe.Draw(t, "to be stopped") {
		s.StopRequestedAt = drawTime(t, "stop")
	}
	task, err := domain.Restore(s)
	if err != nil {
		t.Fatal(err)
	}
	return task
}

// What is written by hand is what the generated types are as JSON.
func TestWriteTasks_WritesWhatTheGeneratedTypesDo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules := domain.RetentionRules{Default: domain.Retention{Completed: domain.Keep(time.Hour), Canceled: domain.KeepForever}}
		tasks := rapid.SliceOfN(rapid.Custom(drawTask), 0, 3).Draw(t, "tasks")
		cursor, window := rapid.SampledFrom([]string{"", "AbC-_="}).Draw(t, "cursor"), rapid.IntRange(0, 20_000).Draw(t, "window")
		page := api.TaskPage{Tasks: []api.Task{}, NextCursor: cursor, Window: nonZero(window)}
		omitted := make([]domain.TaskID, rapid.IntRange(0, 2).Draw(t, "omitted"))
		for i := range omitted {
			omitted[i] = domain.NewTaskID(time.Now())
			page.Omitted = append(page.Omitted, omitted[i].String())
		}
		for _, task := range tasks {
			page.Tasks = append(page.Tasks, toJSON(task, rules))
			want, err := json.Marshal(toJSON(task, rules), writeTimes, json.Deterministic(true))
			if got := appendTask([]byte("x"), task, rules); err != nil || string(got) != "x"+string(want) {
				t.Fatalf("a task is written as\n%s, not\n%s (%v)", got, want, err)
			}
		}
		want, err := json.Marshal(page, writeTimes, json.Deterministic(true))
		w := httptest.NewRecorder()
		if writeTasks(w, 200, tasks, pageEnd{rules, omitted, cursor, window}); err != nil || w.Body.String() != string(want) {
			t.Fatalf("a page is written as\n%s, not\n%s (%v)", w.Body, want, err)
		}
	})
}
