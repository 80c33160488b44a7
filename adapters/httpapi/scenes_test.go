package httpapi_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/millrace/millrace/adapters/httpapi"
	"github.com/millrace/millrace/domain"
)

// scene is what has to be there so that an example comes true.
type scene struct {
	change  func(*httpapi.Config)
	prepare func(*service, *request)
	alone   bool   // no other task is there
	excerpt bool   // the example shows a part of the answer
	text    string // what the answer holds, which is not JSON
}

// requestScene is a scene and the status that the example gets.
type requestScene struct {
	scene
	want int
}

// requestScenes has an entry for each example of a request; * stands for any operation.
var requestScenes = map[string]requestScene{
	"submitTask body hello":          {want: http.StatusCreated},
	"listTasks query status one":     {want: http.StatusOK},
	"listTasks query status several": {want: http.StatusOK},
	"listTasks query limit":          {want: http.StatusOK},
	"listTasks query cursor":         {want: http.StatusOK},
	"* path id":                      {want: http.StatusOK},
	"getTask query wait":             {want: http.StatusOK},
	"getTask header Prefer":          {want: http.StatusOK},
	"getTask header If-None-Match":   {want: http.StatusNotModified},
	"changeTask header If-Match":     {want: http.StatusOK},
	"changeTask body cancel":         {want: http.StatusOK},
	"changeTask body stop":           {scene{prepare: about(running)}, http.StatusAccepted},
	"changeTask body retry":          {scene{prepare: about(failed)}, http.StatusOK},
	"getProblem path code":           {want: http.StatusOK},
}

// answerScenes has an entry for each example of an answer, and for each status
// without a body.
var answerScenes = map[string]scene{
	"submitTask 201 pending": {},
	"listTasks 200 first": {alone: true, prepare: func(s *service, r *request) {
		s.add(pending)
		s.add(completed(""))
		r.query = "limit=1"
	}},
	"listTasks 200 last":  {alone: true, prepare: func(s *service, _ *request) { s.add(pending) }},
	"listTasks 200 empty": {alone: true},
	"getTask 200 pending": {},
	"getTask 200 completed": {prepare: func(s *service, r *request) {
		about(completed("HELLO WORLD"))(s, r)
		r.header.Set("Prefer", "wait=30")
	}},
	"getTask 200 failed":      {prepare: about(failed)},
	"getTask 304":             {prepare: func(_ *service, r *request) { r.header.Set("If-None-Match", `"1"`) }},
	"changeTask 200 canceled": {},
	"changeTask 202 stopping": {prepare: func(s *service, r *request) {
		about(running)(s, r)
		r.body = `{"status": "canceled", "stop": true}`
	}},
	"listAttempts 200 none":     {},
	"listAttempts 200 retried":  {prepare: about(retried)},
	"getHealth 200":             {},
	"getReadiness 200 ready":    {},
	"getReadiness 200 degraded": {prepare: func(s *service, _ *request) { s.queue.err = domain.ErrUnavailable }},
	"getReadiness 503 unready":  {prepare: func(s *service, _ *request) { s.db.err = domain.ErrUnavailable }},
	"getReadiness 503 stopping": {prepare: func(s *service, _ *request) { s.readiness.Stop() }},
	"getIndex 200":              {},
	"getIndex 302":              {prepare: accept("text/html")},
	"getDocs 200":               {},
	"getOpenAPIYAML 200":        {text: "openapi: 3.0.3\n"},
	"getOpenAPIJSON 200":        {excerpt: true},
	"listProblems 200":          {excerpt: true},
	"getProblem 200":            {},

	"* 400 truncated":   {prepare: body(`{"message": "Hello`)},
	"* 400 doubled":     {prepare: body(`{"message": "Hello", "message": "World"}`)},
	"* 400 id":          {prepare: func(_ *service, r *request) { r.values["id"] = "42" }},
	"* 400 query":       {prepare: query("cursor=%zz")},
	"* 401 missing":     {change: needsKey},
	"* 401 unknown":     {change: needsKey, prepare: func(_ *service, r *request) { r.header.Set("Authorization", "Bearer another") }},
	"* 403":             {prepare: func(_ *service, r *request) { r.header.Set("Sec-Fetch-Site", "cross-site") }},
	"* 404":             {prepare: func(_ *service, r *request) { r.values["id"] = domain.NewTaskID(time.Now()).String() }},
	"getProblem 404":    {prepare: func(_ *service, r *request) { r.values["code"] = "boredom" }},
	"* 406":             {prepare: accept("image/png")},
	"* 408":             {prepare: dawdle},
	"* 409":             {prepare: about(completed(""))},
	"* 412":             {prepare: func(_ *service, r *request) { r.header.Set("If-Match", `"7"`) }},
	"* 413 message":     {prepare: body(`{"message": "` + strings.Repeat("x", 300000) + `"}`)},
	"* 413 body":        {prepare: body(strings.Repeat(" ", 2<<20))},
	"* 415":             {prepare: func(_ *service, r *request) { r.header.Set("Content-Type", "text/plain") }},
	"* 422 missing":     {prepare: body(`{}`)},
	"* 422 cursor":      {prepare: query("status=failed&cursor=" + "AQGbHF-O4Xs7gAAAAb9zGdNJbrXt3E6D5g")},
	"* 422 wait":        {prepare: query("wait=90")},
	"* 422 unknown":     {prepare: query("state=failed")},
	"* 500":             {prepare: failing(errors.New("a defect"))},
	"* 503 unavailable": {prepare: failing(domain.ErrUnavailable)},
	"* 503 overloaded":  {change: func(cfg *httpapi.Config) { cfg.Requests = 1 }, prepare: occupy},
}

// defaults are the limits that the examples speak of: those of a service whose
// operator has set none.
func defaults(cfg *httpapi.Config) { cfg.MessageBytes = 256 << 10 }

func needsKey(cfg *httpapi.Config) {
	cfg.Credentials = []httpapi.Credential{{Name: "ada", SHA256: sha256.Sum256([]byte("key"))}}
}

func body(text string) func(*service, *request) {
	return func(_ *service, r *request) { r.body = text }
}

func query(text string) func(*service, *request) {
	return func(_ *service, r *request) { r.query = text }
}

func accept(types string) func(*service, *request) {
	return func(_ *service, r *request) { r.header.Set("Accept", types) }
}

// about makes it a request about a task that has had such a life.
func about(live life) func(*service, *request) {
	return func(s *service, r *request) { r.values["id"] = s.add(live) }
}

// failing lets the store fail from then on.
func failing(err error) func(*service, *request) {
	return func(s *service, r *request) {
		about(pending)(s, r)
		s.store.set(func(context.Context) error { return err })
	}
}

// dawdle lets the body never arrive.
func dawdle(s *service, r *request) {
	about(pending)(s, r)
	upload, rest := io.Pipe()
	s.t.Cleanup(func() { _ = rest.Close() })
	r.upload = upload
}

// occupy takes the only place for a request until the test ends.
func occupy(s *service, r *request) {
	about(pending)(s, r)
	inside, end := make(chan struct{}), make(chan struct{})
	s.store.set(func(context.Context) error { close(inside); <-end; return nil })
	var busy sync.WaitGroup
	busy.Go(func() {
		if res, err := http.Get(s.URL + "/tasks"); err != nil {
			s.t.Error(err)
		} else {
			_ = res.Body.Close()
		}
	})
	<-inside
	s.t.Cleanup(func() { close(end); busy.Wait() })
}

// life is what a task has been through.
type life func(s *service, t *domain.Task) error

// add stores a task, leads it through its life and returns its id.
func (s *service) add(live life) string {
	s.t.Helper()
	t, err := domain.NewTask(domain.TaskSpec{Message: "Hello World", MaxAttempts: 5}, s.clock.Now())
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.store.TaskRepository.Add(s.t.Context(), t); err != nil {
		s.t.Fatal(err)
	}
	if err := live(s, t); err != nil {
		s.t.Fatal(err)
	}
	return t.ID().String()
}

func pending(*service, *domain.Task) error { return nil }

var worker = domain.NewWorkerID()

func running(s *service, t *domain.Task) error {
	if t.Attempt() > 0 { // a retry: its wait is over
		if err := t.MarkQueued(s.clock.Now()); err != nil {
			return err
		}
	}
	err := t.Claim(domain.Claim{Worker: worker, Beat: 1, Timeout: time.Hour}, s.clock.Now())
	return errors.Join(err, s.store.Save(s.t.Context(), t))
}

func refused(s *service, t *domain.Task) error {
	err := errors.Join(running(s, t), t.Fail(t.Attempt(), domain.Failure{Reason: "connection refused"}, domain.RetryPolicy{}, 0, s.clock.Now()))
	return errors.Join(err, s.store.Save(s.t.Context(), t))
}

func failed(s *service, t *domain.Task) error {
	var err error
	for t.Status() != domain.StatusFailed && err == nil {
		err = refused(s, t)
	}
	return err
}

func completed(result string) life {
	return func(s *service, t *domain.Task) error {
		err := errors.Join(running(s, t), t.Complete(t.Attempt(), result, s.clock.Now()))
		return errors.Join(err, s.store.Save(s.t.Context(), t))
	}
}

func retried(s *service, t *domain.Task) error {
	return errors.Join(refused(s, t), completed("")(s, t))
}
