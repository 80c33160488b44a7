package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/millrace/millrace/client"
	"github.com/millrace/millrace/domain"
)

func TestKey_TheSameRequestMakesOneTask(t *testing.T) {
	s := newService(t)
	const body = `{"message":"x","queue":"mail","metadata":{"a":"1","b":"2"}}`
	first := s.call(http.MethodPost, "/tasks", body, `Idempotency-Key: "a\"b\\c"`)
	if first.status != http.StatusCreated || first.header.Get("Idempotency-Replayed") != "" {
		t.Fatalf("%d %v", first.status, first.header)
	}
	for _, again := range []struct{ body, key string }{
		{body, `"a\"b\\c"`},
		{body, `"a\"b\\c";retry=1;x="y\"";z`},
		{body, `a"b\c`}, // bare
		{`{"metadata":{"b":"2","a":"1"}, "queue":"mail", "priority":0, "message":"\u0078"}`, `"a\"b\\c"`},
	} {
		a := s.call(http.MethodPost, "/tasks", again.body, "Idempotency-Key: "+again.key, "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
		if a.status != http.StatusCreated || a.body != first.body || a.header.Get("Idempotency-Replayed") != "true" ||
			a.header.Get("Location") != first.header.Get("Location") || a.header.Get("ETag") != `"1"` {
			t.Errorf("%s: %d %v %s", again.key, a.status, a.header, a.body)
		}
	}
	s.call(http.MethodPatch, first.header.Get("Location"), `{"status":"canceled"}`)
	a := s.call(http.MethodPost, "/tasks", body, `Idempotency-Key: "a\"b\\c"`)
	if a.status != http.StatusCreated || a.fields(t)["status"] != "canceled" || a.header.Get("ETag") != `"2"` {
		t.Errorf("after a change: %d %v %s", a.status, a.header, a.body)
	}
	for _, other := range []string{`{"message":"y"}`, `{"message":"x"}`, strings.Replace(body, "}}", `},"delay":1}`, 1)} {
		wantProblem(t, s.call(http.MethodPost, "/tasks", other, `Idempotency-Key: a"b\c`), http.StatusUnprocessableEntity, "idempotency_key_reused", "Idempotency-Key")
	}
	wantProblem(t, s.call(http.MethodPost, "/tasks/batch", `{"tasks":[`+body+`]}`, `Idempotency-Key: a"b\c`),
		http.StatusUnprocessableEntity, "idempotency_key_reused", "Idempotency-Key")
	if ids := s.follow(""); len(ids) != 1 {
		t.Errorf("there are %d tasks", len(ids))
	}
}

func TestKey_OfABatchAnswersWithAllItsTasks(t *testing.T) {
	s := newService(t)
	const body = `{"tasks":[{"message":"x"},{"message":"y","delay":60},{"message":"x"}]}`
	first := s.call(http.MethodPost, "/tasks/batch", body, "Idempotency-Key: k")
	again := s.call(http.MethodPost, "/tasks/batch", body, "Idempotency-Key: k")
	if first.status != http.StatusCreated || again.status != http.StatusCreated || again.body != first.body ||
		first.header.Get("Idempotency-Replayed") != "" || again.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("%d %s, then %d %s", first.status, first.body, again.status, again.body)
	}
	if ids := s.follow(""); len(ids) != 3 {
		t.Errorf("there are %d tasks", len(ids))
	}
}

// What is stored is what counts: times and durations to the microsecond.
func TestKey_TheSameRequestIsThatWhichStoresTheSame(t *testing.T) {
	s := newService(t)
	for name, spellings := range map[string][]string{
		"timeout": {"3", "3.0", "3.00000001", "3e0"},
		"delay":   {"60", "60.0000009", "6e1"},
		"run_at":  {`"2031-01-01T00:00:00Z"`, `"2031-01-01T01:00:00.0000009+01:00"`, `"2031-01-01t00:00:00z"`},
	} {
		first := s.call(http.MethodPost, "/tasks", `{"message":"x","`+name+`":`+spellings[0]+`}`, "Idempotency-Key: "+name)
		for _, spelling := range spellings[1:] {
			again := s.call(http.MethodPost, "/tasks", `{"message":"x","`+name+`":`+spelling+`}`, "Idempotency-Key: "+name)
			if again.status != http.StatusCreated || again.body != first.body || again.header.Get("Idempotency-Replayed") != "true" {
				t.Errorf("%s %s: %d %s", name, spelling, again.status, again.body)
			}
		}
	}
	wantProblem(t, s.call(http.MethodPost, "/tasks", `{"message":"x","timeout":3.000001}`, "Idempotency-Key: timeout"),
		http.StatusUnprocessableEntity, "idempotency_key_reused", "Idempotency-Key")
}

// manyBytes is a batch whose tasks are too much to read at once.
func manyBytes() string {
	task := `{"message":"` + strings.Repeat("x", messageBytes) + `"},`
	return `{"tasks":[` + strings.TrimSuffix(strings.Repeat(task, 1000), ",") + `]}`
}

func TestKey_OfMuchIsAnsweredPortionByPortion(t *testing.T) {
	s := newService(t)
	body := manyBytes()
	first := s.call(http.MethodPost, "/tasks/batch", body, "Idempotency-Key: k")
	portions := 0
	s.store.onGetMany(func() error { portions++; return nil })
	again := s.call(http.MethodPost, "/tasks/batch", body, "Idempotency-Key: k")
	if again.status != http.StatusCreated || again.body != first.body || again.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("%d, %d bytes; want those of before, %d, %d bytes", again.status, len(again.body), first.status, len(first.body))
	}
	if portions == 0 {
		t.Error("all was read at once")
	}
}

// A client must not take a part for the whole.
func TestKey_AReplayThatFailsOnTheWayIsCutOff(t *testing.T) {
	s := newService(t)
	body := manyBytes()
	s.call(http.MethodPost, "/tasks/batch", body, "Idempotency-Key: k")
	s.store.onGetMany(func() error { return domain.ErrUnavailable })
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/tasks/batch", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", "k")
	res, err := noRedirect.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if text, err := io.ReadAll(res.Body); err == nil {
		t.Errorf("%d: an answer of %d bytes is whole", res.StatusCode, len(text))
	}
	if !strings.Contains(s.log.String(), "a replay was cut off") {
		t.Error("the log does not say so")
	}
}

func TestKey_IsRefusedIfItCannotBeUnderstood(t *testing.T) {
	s := newService(t)
	for _, path := range []string{"/tasks", "/tasks/batch"} {
		for _, key := range []string{
			`""`, `"`, `"a`, `"a"b`, `"a" "b"`, `"a", "b"`, `"a";`, `"a";B=1`, `"a";b=`, `"a b"`, `"é"`, `é`, `a b`, `"a\b"`, `"a\"`,
			strings.Repeat("x", 256), `"` + strings.Repeat("x", 256) + `"`, "a\tb",
		} {
			a := s.call(http.MethodPost, path, `{}`, "Idempotency-Key: "+key)
			wantProblem(t, a, http.StatusUnprocessableEntity, "invalid", "Idempotency-Key: ")
			if errs := a.problem(t).Errors; len(errs) != 1 || errs[0].Parameter == nil || *errs[0].Parameter != "Idempotency-Key" {
				t.Errorf("%s: %s", key, a.body)
			}
		}
		a := s.call(http.MethodPost, path, `{}`, "Idempotency-Key: a", "Idempotency-Key: a")
		wantProblem(t, a, http.StatusUnprocessableEntity, "invalid", "Idempotency-Key: must not be repeated")
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/tasks", strings.NewReader(`{"message":"x"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Idempotency-Key", "") // a client that lost its key must not make two tasks
	wantProblem(t, s.do(req, `{"message":"x"}`), http.StatusUnprocessableEntity, "invalid", "Idempotency-Key: must be 1 to 255")
	for _, key := range []string{"!", "a,b", "a;b", `~"`, strings.Repeat("x", 255), `"` + strings.Repeat(`\"`, 255) + `"`} {
		if a := s.call(http.MethodPost, "/tasks", `{"message":"x"}`, "Idempotency-Key: "+key); a.status != http.StatusCreated {
			t.Errorf("%s: %d %s", key, a.status, a.body)
		}
	}
}

func TestKey_NothingIsRememberedOfARequestThatWasRefusedOrFailed(t *testing.T) {
	s := newService(t)
	wantProblem(t, s.call(http.MethodPost, "/tasks", `{"message":""}`, "Idempotency-Key: k"), http.StatusUnprocessableEntity, "invalid", "message")
	s.store.set(func(context.Context) error { return fmt.Errorf("%w: %w", domain.ErrUnavailable, errors.New("away")) })
	a := s.call(http.MethodPost, "/tasks", `{"message":"x"}`, "Idempotency-Key: k")
	wantProblem(t, a, http.StatusServiceUnavailable, "unavailable", "try again")
	if a.header.Get("Retry-After") == "" {
		t.Error("nothing says when to try again")
	}
	s.store.set(nil)
	if a := s.call(http.MethodPost, "/tasks", `{"message":"y"}`, "Idempotency-Key: k"); a.status != http.StatusCreated || a.header.Get("Idempotency-Replayed") != "" {
		t.Errorf("%d %v %s", a.status, a.header, a.body)
	}
}

// A key is that of the credential's name: it survives a rotation, and is nobody else's.
func TestKey_BelongsToWhoeverSentIt(t *testing.T) {
	s := newService(t, locked)
	send := func(credential, message string) answer {
		return s.call(http.MethodPost, "/tasks", `{"message":"`+message+`"}`, "Idempotency-Key: k", "Authorization: Bearer "+credential)
	}
	first := send("old-key", "ann's")
	if again := send("new-key", "ann's"); again.status != http.StatusCreated || again.body != first.body {
		t.Errorf("after a rotation: %d %s", again.status, again.body)
	}
	if bobs := send("bobs-key", "bob's"); bobs.status != http.StatusCreated || bobs.header.Get("Idempotency-Replayed") != "" {
		t.Errorf("somebody else: %d %s", bobs.status, bobs.body)
	}
	wantProblem(t, send("old-key", "bob's"), http.StatusUnprocessableEntity, "idempotency_key_reused", "")
}

func TestKey_ManyAtOnceMakeOneTask(t *testing.T) {
	for name, open := range map[string]func(*testing.T) stores{"SQLite": openStores, "PostgreSQL": openServers} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServiceOn(t, open(t))
			const twins = 50
			key, body := "k", `{"message":"x"}`
			var all sync.WaitGroup
			ids, originals := make(chan string, twins), make(chan int, twins)
			for range twins {
				all.Go(func() {
					c, err := client.NewClientWithResponses(s.URL)
					if err != nil {
						t.Error(err)
						return
					}
					a, err := c.SubmitTaskWithBodyWithResponse(t.Context(), &client.SubmitTaskParams{IdempotencyKey: &key}, "application/json", strings.NewReader(body))
					if err != nil {
						t.Error(err)
						return
					}
					if a.JSON201 == nil {
						t.Errorf("%s", a.Body)
						return
					}
					ids <- a.JSON201.ID
					if a.HTTPResponse.Header.Get("Idempotency-Replayed") == "" {
						originals <- 1
					}
				})
			}
			all.Wait()
			http.DefaultTransport.(*http.Transport).CloseIdleConnections()
			close(ids)
			first := <-ids
			for id := range ids {
				if id != first {
					t.Errorf("%s and %s", first, id)
				}
			}
			if n := len(originals); n != 1 || len(s.follow("")) != 1 {
				t.Errorf("%d requests made a task, of %d", n, len(s.follow("")))
			}
		})
	}
}
