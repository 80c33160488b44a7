package httpapi_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/domain"
)

// onBothStores runs the test on either kind of stores.
func onBothStores(t *testing.T, test func(t *testing.T, s *service)) {
	t.Helper()
	for name, open := range map[string]func(*testing.T) stores{"SQLite": openStores, "PostgreSQL": openServers} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, newServiceOn(t, open(t)))
		})
	}
}

func TestDeleteTask_RemovesOneThatHasEndedAndNoOther(t *testing.T) {
	onBothStores(t, func(t *testing.T, s *service) {
		for _, h := range []history{completed("done"), canceled, failed, retried} {
			path := "/tasks/" + s.add(h)
			if a := s.call(http.MethodDelete, path, ""); a.status != http.StatusNoContent || a.body != "" {
				t.Errorf("delete: %d %q", a.status, a.body)
			}
			for _, gone := range []string{path, path + "/attempts", path + "/explain"} {
				wantProblem(t, s.call(http.MethodGet, gone, ""), http.StatusNotFound, "not_found", "task not found")
			}
			wantProblem(t, s.call(http.MethodDelete, path, ""), http.StatusNotFound, "not_found", "task not found")
			wantProblem(t, s.call(http.MethodPatch, path, `{"status":"pending"}`), http.StatusNotFound, "not_found", "task not found")
		}
		for detail, h := range map[string]history{"cancel it first": pending, "stop it first": running} {
			path := "/tasks/" + s.add(h)
			wantProblem(t, s.call(http.MethodDelete, path, ""), http.StatusConflict, "conflict", detail)
			if a := s.call(http.MethodGet, path, ""); a.status != http.StatusOK {
				t.Errorf("after a refused deletion: %d", a.status)
			}
		}
		wantProblem(t, s.call(http.MethodDelete, "/tasks/42", ""), http.StatusBadRequest, "malformed", "is not a UUID")
		wantProblem(t, s.call(http.MethodDelete, "/tasks/"+s.add(canceled)+"?force=true", ""), http.StatusUnprocessableEntity, "invalid", "force")
		if allow := s.call(http.MethodOptions, "/tasks/"+s.add(pending), "").header.Get("Allow"); !strings.Contains(allow, http.MethodDelete) {
			t.Errorf("Allow: %s", allow)
		}
		wantProblem(t, s.call(http.MethodDelete, "/tasks/bulk", ""), http.StatusMethodNotAllowed, "method_not_allowed", "")
	})
}

func TestDeleteTask_JudgesIfMatchBeforeTheState(t *testing.T) {
	s := newService(t)
	for match, want := range map[string]int{`"2"`: http.StatusPreconditionFailed, `W/"1"`: http.StatusPreconditionFailed, `"1"`: http.StatusConflict, `*`: http.StatusConflict} {
		if a := s.call(http.MethodDelete, "/tasks/"+s.add(pending), "", "If-Match: "+match); a.status != want {
			t.Errorf("If-Match: %s of a pending task: %d, not %d", match, a.status, want)
		}
	}
	for match, want := range map[string]int{`"1"`: http.StatusPreconditionFailed, `"1", "2"`: http.StatusNoContent, `*`: http.StatusNoContent} {
		if a := s.call(http.MethodDelete, "/tasks/"+s.add(canceled), "", "If-Match: "+match); a.status != want {
			t.Errorf("If-Match: %s of a canceled task: %d, not %d", match, a.status, want)
		}
	}
}

func TestDeleteTask_TheRepeatOfItsKeyMakesNoSecondTask(t *testing.T) {
	onBothStores(t, func(t *testing.T, s *service) {
		const single, batch = `{"message":"x"}`, `{"tasks":[{"message":"a"},{"message":"b"},{"message":"c"}]}`
		one := s.call(http.MethodPost, "/tasks", single, "Idempotency-Key: one").fields(t)["id"].(string)
		many := ids.FindAllString(s.call(http.MethodPost, "/tasks/batch", batch, "Idempotency-Key: many").body, -1)
		for _, id := range []string{one, many[2], many[1]} {
			s.call(http.MethodPatch, "/tasks/"+id, `{"status":"canceled"}`)
			if a := s.call(http.MethodDelete, "/tasks/"+id, ""); a.status != http.StatusNoContent {
				t.Fatalf("delete: %d %s", a.status, a.body)
			}
		}
		for range 2 {
			wantProblem(t, s.call(http.MethodPost, "/tasks", single, "Idempotency-Key: one"), http.StatusGone, "gone", one)
			wantProblem(t, s.call(http.MethodPost, "/tasks/batch", batch, "Idempotency-Key: many"), http.StatusGone, "gone", many[1])
		}
		wantProblem(t, s.call(http.MethodPost, "/tasks", `{"message":"y"}`, "Idempotency-Key: one"), http.StatusUnprocessableEntity, "idempotency_key_reused", "")
		if left := s.follow("?limit=10"); len(left) != 1 || left[0] != many[0] {
			t.Errorf("the tasks %s are left, want %s", left, many[0])
		}
	})
}

func TestDeleteTask_WhoWaitsIsToldSo(t *testing.T) {
	s := newService(t)
	id := s.add(canceled)
	done := make(chan answer, 1)
	go func() { done <- s.call(http.MethodGet, "/tasks/"+id+"?wait=60", "", `If-None-Match: "2"`) }()
	time.Sleep(50 * time.Millisecond) // so that it waits; otherwise the answer is the same
	s.call(http.MethodDelete, "/tasks/"+id, "")
	wantProblem(t, <-done, http.StatusNotFound, "not_found", "task not found")
}

func TestDeleteTask_ACursorOfATaskThatIsGoneLeadsOn(t *testing.T) {
	onBothStores(t, func(t *testing.T, s *service) {
		all := []string{s.add(canceled), s.add(canceled), s.add(canceled), s.add(canceled)}
		page := s.call(http.MethodGet, "/tasks?limit=2", "").fields(t)
		for _, id := range all[1:] { // what the page has, and the first of the next one
			s.call(http.MethodDelete, "/tasks/"+id, "")
		}
		rest := s.call(http.MethodGet, "/tasks?limit=2&cursor="+page["next_cursor"].(string), "")
		if found := ids.FindAllString(rest.body, -1); rest.status != http.StatusOK || len(found) != 1 || found[0] != all[0] {
			t.Errorf("%d %s; want %s", rest.status, rest.body, all[0])
		}
	})
}

func TestDeleteTask_SaysWhatTheStoreSays(t *testing.T) {
	s := newService(t)
	for status, err := range map[int]error{http.StatusServiceUnavailable: domain.ErrUnavailable, http.StatusUnprocessableEntity: domain.ErrRefused, http.StatusInternalServerError: errors.New("a defect")} {
		s.store.setDelete(err)
		if a := s.call(http.MethodDelete, "/tasks/"+s.add(canceled), ""); a.status != status {
			t.Errorf("%v: %d %s", err, a.status, a.body)
		}
	}
}

func TestBulk_DeletesWhatHasEnded(t *testing.T) {
	onBothStores(t, func(t *testing.T, s *service) {
		for _, h := range []history{completed(""), canceled, failed, pending, running} {
			s.add(h)
		}
		const filter = `"filter":{"text":"Hello"}`
		if a := s.call(http.MethodPost, "/tasks/bulk", `{"action":"delete",`+filter+`,"dry_run":true}`); a.fields(t)["matched"] != 5.0 {
			t.Errorf("a dry run: %d %s", a.status, a.body)
		}
		id := s.bulk(`{"action":"delete",` + filter + `}`)
		s.doBulks()
		got := s.call(http.MethodGet, "/bulk/"+id, "").fields(t)
		if got["action"] != "delete" || got["status"] != "done" || got["changed"] != 3.0 || got["skipped"] != 2.0 {
			t.Errorf("%v; want three deleted and two skipped", got)
		}
		if left := s.follow("?limit=10"); len(left) != 2 {
			t.Errorf("%d tasks are left, want 2", len(left))
		}
		wantProblem(t, s.call(http.MethodPost, "/tasks/bulk", `{"action":"delete","filter":{}}`), http.StatusUnprocessableEntity, "invalid", "set all to true")
	})
}
