package httpapi_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/domain"
)

// run claims and changes the task as a worker would.
func (s *service) run(id string, end func(t *domain.Task) error) {
	s.t.Helper()
	parsed, err := domain.ParseTaskID(id)
	if err != nil {
		s.t.Fatal(err)
	}
	task, err := s.store.TaskRepository.Get(context.Background(), parsed)
	if err != nil {
		s.t.Fatal(err)
	}
	if task.Status() == domain.StatusPending {
		if err := task.Claim(domain.Claim{Worker: "w", Beat: 1, Timeout: time.Hour}, s.clock.Now()); err != nil {
			s.t.Fatal(err)
		}
	}
	if end != nil {
		if err := end(task); err != nil {
			s.t.Fatal(err)
		}
	}
	if err := s.store.TaskRepository.Save(context.Background(), task); err != nil {
		s.t.Fatal(err)
	}
}

func (s *service) completeWith(result string) func(*domain.Task) error {
	return func(task *domain.Task) error { return task.Complete(task.Attempt(), result, s.clock.Now()) }
}

func TestGetTask_ShowsWhatTheTaskKeeps(t *testing.T) {
	s := newService(t)
	id := s.submit("hello")
	s.run(id, s.completeWith("HELLO"))
	got := s.call(http.MethodGet, "/tasks/"+id, "").fields(t)
	if got["result"] != "HELLO" || got["status"] != "completed" || got["started_at"] == nil || got["finished_at"] != got["updated_at"] {
		t.Errorf("got %v", got)
	}
	for _, flag := range []string{"result_truncated", "result_altered"} {
		if _, there := got[flag]; there {
			t.Errorf("%s, of a short text: %v", flag, got)
		}
	}

	long := s.submit("long")
	s.run(long, s.completeWith(strings.Repeat("x", domain.MaxResult+1)))
	if got := s.call(http.MethodGet, "/tasks/"+long, "").fields(t); len(got["result"].(string)) != domain.MaxResult || got["result_truncated"] != true {
		t.Errorf("a long result: %d bytes, truncated: %v", len(got["result"].(string)), got["result_truncated"])
	}

	binary := s.submit("binary")
	s.run(binary, s.completeWith("a\x00b"))
	if got := s.call(http.MethodGet, "/tasks/"+binary, "").fields(t); got["result"] != "a\uFFFDb" || got["result_altered"] != true {
		t.Errorf("a result that is no text: %q, altered: %v", got["result"], got["result_altered"])
	}
}

func TestListAttempts_TellsWhatBecameOfEach(t *testing.T) {
	s := newService(t)
	id := s.submit("hello")
	attempts := func() []any {
		return s.call(http.MethodGet, "/tasks/"+id+"/attempts", "").fields(t)["attempts"].([]any)
	}
	if got := attempts(); len(got) != 0 {
		t.Errorf("of a new task: %v", got)
	}
	s.run(id, nil)
	if got := attempts(); len(got) != 1 || got[0].(map[string]any)["outcome"] != "running" {
		t.Errorf("of a running task: %v", got)
	}
	s.run(id, func(task *domain.Task) error {
		return task.Fail(1, domain.Failure{Reason: "broken"}, domain.RetryPolicy{}, 0, s.clock.Now())
	})
	if got := attempts(); len(got) != 1 || got[0].(map[string]any)["outcome"] != "failed" || got[0].(map[string]any)["error"] != "broken" {
		t.Errorf("of a task that failed once: %v", got)
	}
	if got := s.call(http.MethodGet, "/tasks/01900000-0000-7000-8000-000000000000/attempts", ""); got.status != http.StatusNotFound {
		t.Errorf("of an unknown task: %d", got.status)
	}
}

func TestChangeTask_AsksARunningTaskToStop(t *testing.T) {
	s := newService(t)
	id := s.submit("hello")
	s.run(id, nil)
	if got := s.call(http.MethodPatch, "/tasks/"+id, `{"status":"canceled"}`); got.status != http.StatusConflict {
		t.Errorf("a plain cancel: %d", got.status)
	}
	for range 2 { // repeated, it is the same
		got := s.call(http.MethodPatch, "/tasks/"+id, `{"status":"canceled","stop":true}`)
		if got.status != http.StatusAccepted || got.fields(t)["status"] != "processing" || got.fields(t)["cancel_requested_at"] == nil {
			t.Errorf("a stop: %d %v", got.status, got.fields(t))
		}
	}
	for body, want := range map[string]int{
		`{"status":"pending","stop":true}`:   http.StatusUnprocessableEntity,
		`{"status":"canceled","stop":"yes"}`: http.StatusUnprocessableEntity,
		`{"status":"canceled","stop":null}`:  http.StatusUnprocessableEntity,
		`{"status":"canceled","stop":false}`: http.StatusConflict,
		`{"status":"completed","stop":true}`: http.StatusUnprocessableEntity,
		`{"status":"canceled","stop":true,}`: http.StatusBadRequest,
		`{"status":"canceled","Stop":true}`:  http.StatusUnprocessableEntity,
		`{"stop":true}`:                      http.StatusUnprocessableEntity,
	} {
		if got := s.call(http.MethodPatch, "/tasks/"+id, body); got.status != want {
			t.Errorf("%s: %d, not %d", body, got.status, want)
		}
	}
	waiting := s.submit("waits")
	if got := s.call(http.MethodPatch, "/tasks/"+waiting, `{"status":"canceled","stop":true}`); got.status != http.StatusOK || got.fields(t)["status"] != "canceled" {
		t.Errorf("a stop of a pending task: %d %v", got.status, got.fields(t))
	}
}

func TestChangeTask_JudgesIfMatchBeforeTheState(t *testing.T) {
	s := newService(t)
	id := s.submit("hello")
	s.run(id, s.completeWith(""))
	for match, want := range map[string]int{
		`"1"`:      http.StatusPreconditionFailed,
		`"1", "9"`: http.StatusPreconditionFailed,
		`W/"3"`:    http.StatusPreconditionFailed, // a weak tag matches nothing strongly
		`nonsense`: http.StatusPreconditionFailed,
		`"3"`:      http.StatusConflict,
		`"1", "3"`: http.StatusConflict,
		`*`:        http.StatusConflict,
	} {
		if got := s.call(http.MethodPatch, "/tasks/"+id, `{"status":"canceled"}`, "If-Match: "+match); got.status != want {
			t.Errorf("If-Match: %s: %d, not %d", match, got.status, want)
		}
	}
}

func TestGetTask_WaitsForTheEnd(t *testing.T) {
	s := newService(t)
	id := s.submit("hello")
	done := make(chan answer, 1)
	go func() { done <- s.call(http.MethodGet, "/tasks/"+id+"?wait=30", "") }()
	time.Sleep(50 * time.Millisecond) // so that it waits
	s.run(id, s.completeWith("at last"))
	if got := <-done; got.status != http.StatusOK || got.fields(t)["result"] != "at last" {
		t.Errorf("%d %v", got.status, got.fields(t))
	}
}

func TestGetTask_WaitsNoLongerThanAsked(t *testing.T) {
	s := newService(t)
	id := s.submit("hello")
	begun := time.Now()
	if got := s.call(http.MethodGet, "/tasks/"+id, "", `Prefer: respond-async, wait=1`); got.status != http.StatusOK ||
		got.fields(t)["status"] != "pending" || got.header.Get("Preference-Applied") != "wait=1" {
		t.Errorf("%d %v %v", got.status, got.fields(t), got.header)
	}
	if got := s.call(http.MethodGet, "/tasks/"+id+"?wait=1", "", `If-None-Match: "1"`); got.status != http.StatusNotModified {
		t.Errorf("no change: %d", got.status)
	}
	if took := time.Since(begun); took < 2*time.Second {
		t.Errorf("took %s, less than was asked for", took)
	}
	for _, wait := range []string{"61", "-1", "soon", "1.5"} {
		if got := s.call(http.MethodGet, "/tasks/"+id+"?wait="+wait, ""); got.status != http.StatusUnprocessableEntity {
			t.Errorf("wait=%s: %d", wait, got.status)
		}
	}
	if got := s.call(http.MethodGet, "/tasks/"+id, "", `Prefer: wait=soon`); got.status != http.StatusOK || got.header.Get("Preference-Applied") != "" {
		t.Errorf("a preference without sense: %d %v", got.status, got.header)
	}
}

func TestGetTask_BoundsThoseWhoWait(t *testing.T) {
	s := newService(t)
	id := s.submit("hello")
	done := make(chan answer, maxWaiters+1)
	for range maxWaiters + 1 { // whichever comes last is answered first
		go func() { done <- s.call(http.MethodGet, "/tasks/"+id+"?wait=60", "") }()
	}
	if got := <-done; got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" {
		t.Errorf("one too many: %d %v", got.status, got.fields(t))
	}
	s.call(http.MethodPatch, "/tasks/"+id, `{"status":"canceled"}`)
	for range maxWaiters {
		if got := <-done; got.fields(t)["status"] != "canceled" {
			t.Errorf("%d %v", got.status, got.fields(t))
		}
	}
}
