package httpapi_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/millrace/millrace/adapters/httpapi"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// exampleSetup is what an example needs to come true.
type exampleSetup struct {
	change  func(*httpapi.Config)
	prepare func(*service, *request)
	alone   bool   // no other task is there
	excerpt bool   // the example shows a part of the answer
	text    string // what the answer holds, which is not JSON
}

// requestSetup is an exampleSetup and the status that the example gets.
type requestSetup struct {
	exampleSetup
	want int
}

// requestSetups has an entry for each example of a request; * stands for any operation.
var requestSetups = map[string]requestSetup{
	"submitTask body hello":            {want: http.StatusCreated},
	"submitTask body delayed":          {want: http.StatusCreated},
	"submitTask body at":               {want: http.StatusCreated},
	"* header Idempotency-Key":         {exampleSetup{alone: true}, http.StatusCreated},
	"submitBatch body two":             {want: http.StatusCreated},
	"startBulk body cancel":            {want: http.StatusAccepted},
	"startBulk body retry":             {want: http.StatusAccepted},
	"startBulk body delete":            {want: http.StatusAccepted},
	"startBulk body dry":               {want: http.StatusOK},
	"startBulk body all":               {want: http.StatusAccepted},
	"startBulk header Idempotency-Key": {exampleSetup{alone: true}, http.StatusAccepted},
	"changeBulk body cancel":           {want: http.StatusOK},
	"listBulks query limit":            {want: http.StatusOK},
	"listBulks query cursor":           {want: http.StatusOK},
	"listQueues query limit":           {want: http.StatusOK},
	"listQueues query cursor":          {want: http.StatusOK},
	"* path name":                      {exampleSetup{prepare: withTask(pending)}, http.StatusOK},
	"changeQueue body pause":           {want: http.StatusOK},
	"changeQueue body resume":          {want: http.StatusOK},
	"changeQueue body limit":           {want: http.StatusOK},
	"changeQueue body unlimit":         {want: http.StatusOK},
	"listTasks query queue":            {want: http.StatusOK},
	"listTasks query created_from":     {want: http.StatusOK},
	"listTasks query created_before":   {want: http.StatusOK},
	"listTasks query finished_from":    {want: http.StatusOK},
	"listTasks query finished_before":  {want: http.StatusOK},
	"listTasks query metadata":         {want: http.StatusOK},
	"listTasks query text":             {want: http.StatusOK},
	"listTasks query status one":       {want: http.StatusOK},
	"listTasks query status several":   {want: http.StatusOK},
	"listTasks query limit":            {want: http.StatusOK},
	"listTasks query cursor":           {want: http.StatusOK},
	"* path id":                        {want: http.StatusOK},
	"getTask query wait":               {want: http.StatusOK},
	"getTask header Prefer":            {want: http.StatusOK},
	"getTask header If-None-Match":     {want: http.StatusNotModified},
	"changeTask header If-Match":       {want: http.StatusOK},
	"changeTask body cancel":           {want: http.StatusOK},
	"changeTask body stop":             {exampleSetup{prepare: withTask(running)}, http.StatusAccepted},
	"changeTask body retry":            {exampleSetup{prepare: withTask(failed)}, http.StatusOK},
	"deleteTask path id":               {exampleSetup{prepare: withTask(completed(""))}, http.StatusNoContent},
	"deleteTask header If-Match":       {exampleSetup{prepare: withTask(canceled)}, http.StatusNoContent},
	"getProblem path code":             {want: http.StatusOK},
}

// responseSetups has an entry for each example of an answer, and for each status
// without a body.
var responseSetups = map[string]exampleSetup{
	"submitTask 201 pending": {},
	"submitTask 201 delayed": {prepare: body(delayedTask)},
	"submitTask 201 replayed": {prepare: func(s *service, r *request) {
		sentBefore(r.body)(s, r)
		for _, id := range s.follow("?status=pending") {
			s.call(http.MethodPatch, "/tasks/"+id, `{"status":"canceled"}`)
		}
	}, alone: true},
	"submitBatch 201 two":      {},
	"submitBatch 201 replayed": {prepare: func(s *service, r *request) { sentBefore(r.body)(s, r) }},
	"startBulk 200 count": {alone: true, prepare: func(s *service, r *request) {
		s.add(pending)
		r.body = `{"action": "retry", "filter": {"text": "Hello"}, "dry_run": true}`
	}},
	"startBulk 202 begun":    {prepare: body(begunBulk)},
	"startBulk 202 replayed": {prepare: sentBefore(begunBulk)},
	"listBulks 200 first": {alone: true, prepare: func(s *service, r *request) {
		s.bulk(begunBulk)
		s.bulk(begunBulk)
		r.query = "limit=1"
	}},
	"listBulks 200 empty":     {alone: true},
	"changeBulk 200 canceled": {prepare: func(s *service, r *request) { r.values["id"] = s.bulk(begunBulk) }},
	"changeBulk 409": {alone: true, prepare: func(s *service, r *request) {
		r.values["id"] = s.bulk(begunBulk)
		s.doBulks()
	}},
	"startBulk 422 reused": {prepare: sentBefore(`{"action": "stop", "filter": {}, "all": true}`)},
	"getBulk 200 running":  {prepare: func(s *service, r *request) { r.values["id"] = s.bulk(begunBulk) }},
	"getBulk 200 done": {alone: true, prepare: func(s *service, r *request) {
		s.add(pending)
		s.add(completed(""))
		r.values["id"] = s.bulk(`{"action": "cancel", "filter": {"status": ["pending", "completed", "pending"], "text": "Hello"}}`)
		s.doBulks()
	}},
	"listQueues 200 one":   {alone: true, prepare: func(s *service, _ *request) { s.add(pending) }},
	"listQueues 200 empty": {alone: true},
	"listQueues 200 first": {alone: true, prepare: func(s *service, r *request) {
		s.add(pending)
		s.call(http.MethodPatch, "/queues/mail", limitedQueue)
		r.query = "limit=1"
	}},
	"getQueue 200 limited": {alone: true, prepare: func(s *service, r *request) {
		s.call(http.MethodPatch, "/queues/mail", limitedQueue)
		r.values["name"] = "mail"
	}},
	"changeQueue 200 limited": {alone: true, prepare: func(_ *service, r *request) { r.values["name"], r.body = "mail", limitedQueue }},
	"explainTask 200 paused": {alone: true, prepare: func(s *service, r *request) {
		s.add(pending)
		s.add(pending)
		withTask(pending)(s, r)
		s.call(http.MethodPatch, "/queues/default", `{"paused": true}`)
	}},
	"explainTask 200 retry": {alone: true, prepare: withTask(func(s *service, t *domain.Task) error {
		err := errors.Join(running(s, t), t.Fail(t.Attempt(), domain.Failure{RetryAfter: time.Hour}, domain.RetryPolicy{}, 0, s.clock.Now()))
		return errors.Join(err, s.store.Save(s.t.Context(), t))
	})},
	"explainTask 200 ended": {prepare: withTask(completed(""))},
	"listTasks 200 first": {alone: true, prepare: func(s *service, r *request) {
		s.add(pending)
		s.add(completed(""))
		r.query = "limit=1"
	}},
	"listTasks 200 last":  {alone: true, prepare: func(s *service, _ *request) { s.add(pending) }},
	"listTasks 200 empty": {alone: true},
	"listTasks 200 window": {alone: true, prepare: func(s *service, r *request) {
		s.addMany(application.TextWindow + 1)
		r.query = "text=rare"
	}},
	"getTask 200 pending": {},
	"getTask 200 completed": {prepare: func(s *service, r *request) {
		withTask(completed("HELLO WORLD"))(s, r)
		r.header.Set("Prefer", "wait=30")
	}},
	"getTask 200 failed":      {prepare: withTask(failed)},
	"getTask 304":             {prepare: func(_ *service, r *request) { r.header.Set("If-None-Match", `"1"`) }},
	"changeTask 200 canceled": {},
	"changeTask 202 stopping": {prepare: func(s *service, r *request) {
		withTask(running)(s, r)
		r.body = `{"status": "canceled", "stop": true}`
	}},
	"deleteTask 204":           {prepare: withTask(completed(""))},
	"deleteTask 409 pending":   {},
	"deleteTask 409 running":   {prepare: withTask(running)},
	"listAttempts 200 none":    {},
	"listAttempts 200 retried": {prepare: withTask(retried)},
	"getHealth 200":            {},
	"getReadiness 200 ready":   {},
	"getReadiness 200 degraded": {prepare: func(s *service, _ *request) {
		s.queue.err = domain.Errorf(domain.CodeUnavailable, "Redis does not answer")
	}},
	"getReadiness 503 unready": {prepare: func(s *service, _ *request) {
		s.work.err = domain.Errorf(domain.CodeUnavailable, "submit has failed for 7s: PostgreSQL does not answer")
		s.db.err = domain.Errorf(domain.CodeUnavailable, "PostgreSQL does not answer")
	}},
	"getReadiness 503 stopping": {prepare: func(s *service, _ *request) { s.readiness.Stop() }},
	"getIndex 200":              {},
	"getIndex 302":              {prepare: accept("text/html")},
	"getDocs 200":               {},
	"getOpenAPIYAML 200":        {text: "openapi: 3.0.3\n"},
	"getOpenAPIJSON 200":        {excerpt: true},
	"listProblems 200":          {excerpt: true},
	"getProblem 200":            {},

	"* 400 truncated":        {prepare: body(`{"message": "Hello`)},
	"* 400 doubled":          {prepare: body(`{"message": "Hello", "message": "World"}`)},
	"* 400 id":               {prepare: func(_ *service, r *request) { r.values["id"] = "42" }},
	"* 400 name":             {prepare: func(_ *service, r *request) { r.values["name"] = "Mail" }},
	"* 400 query":            {prepare: query("cursor=%zz")},
	"* 401 missing":          {change: needsKey},
	"* 401 unknown":          {change: needsKey, prepare: func(_ *service, r *request) { r.header.Set("Authorization", "Bearer another") }},
	"* 403":                  {prepare: func(_ *service, r *request) { r.header.Set("Sec-Fetch-Site", "cross-site") }},
	"* 404":                  {prepare: func(_ *service, r *request) { r.values["id"] = domain.NewTaskID(time.Now()).String() }},
	"getQueue 404":           {prepare: func(_ *service, r *request) { r.values["name"] = "unheard-of" }},
	"getProblem 404":         {prepare: func(_ *service, r *request) { r.values["code"] = "boredom" }},
	"* 406":                  {prepare: accept("image/png")},
	"* 408":                  {change: shortReadTimeout, prepare: stallUpload},
	"* 409":                  {prepare: withTask(completed(""))},
	"* 410":                  {prepare: goneTask},
	"* 412":                  {prepare: func(_ *service, r *request) { r.header.Set("If-Match", `"7"`) }},
	"* 413 message":          {prepare: body(`{"message": "` + strings.Repeat("x", 300000) + `"}`)},
	"* 413 body":             {prepare: body(strings.Repeat(" ", 2<<20))},
	"* 413 batch":            {prepare: body(strings.Repeat(" ", 16<<20) + "{}")},
	"* 415":                  {prepare: func(_ *service, r *request) { r.header.Set("Content-Type", "text/plain") }},
	"* 421":                  {prepare: func(_ *service, r *request) { r.header.Set("Host", "millrace.example") }},
	"* 422 missing":          {prepare: body(`{}`)},
	"* 422 both":             {prepare: body(`{"message": "x", "run_at": "2026-12-24T18:00:00Z", "delay": 0, "priority": 10}`)},
	"* 422 key":              {prepare: func(_ *service, r *request) { r.header.Set("Idempotency-Key", `"not visible"`) }},
	"submitTask 422 reused":  {prepare: sentBefore(`{"message": "another"}`)},
	"submitBatch 422 reused": {prepare: sentBefore(`{"tasks": [{"message": "another"}]}`)},
	"* 422 items":            {prepare: body(`{"tasks": [{"message": "x"}, {"message": ""}, {"message": 1}, {"message": "x", "priority": 10}]}`)},
	"* 422 none":             {prepare: body(`{"tasks": []}`)},
	"* 422 action":           {prepare: body(`{"action": "purge", "filter": {"queue": ["mail", "Mail"]}}`)},
	"* 422 filter":           {prepare: body(`{"action": "cancel"}`)},
	"* 422 empty":            {prepare: body(`{"action": "cancel", "filter": {}}`)},
	"listTasks 422 too_much": {prepare: failing(domain.ErrTooMuch)},
	"startBulk 422 too_much": {prepare: func(s *service, r *request) {
		failing(domain.ErrTooMuch)(s, r)
		r.body = `{"action": "cancel", "filter": {"text": "Hello"}, "dry_run": true}`
	}},
	"* 422 limits":      {prepare: body(`{"max_running": 0, "rate": "fast"}`)},
	"* 422 filters":     {prepare: query("created_from=yesterday&metadata=customer")},
	"* 422 cursor":      {prepare: query("status=failed&cursor=" + "AQGbHF-O4Xs7gAAAAb9zGdNJbrXt3E6D5g")},
	"* 422 wait":        {prepare: query("wait=90")},
	"* 422 unknown":     {prepare: query("state=failed")},
	"* 500":             {prepare: failing(errors.New("a defect"))},
	"* 503 unavailable": {prepare: failing(domain.ErrUnavailable)},
	"* 503 overloaded":  {change: func(cfg *httpapi.Config) { cfg.Requests = 1 }, prepare: occupySlot},
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

const (
	delayedTask  = `{"message": "Hello World", "queue": "mail", "priority": 5, "delay": 90, "max_attempts": 3, "timeout": 2.5, "metadata": {"customer": "c-1042"}}`
	begunBulk    = `{"action": "cancel", "filter": {"queue": ["default"], "created_from": "2026-01-15T00:00:00Z", "metadata": {"customer": "c-1042"}}}`
	limitedQueue = `{"paused": true, "max_running": 10, "rate": "100/s"}`
)

// sentBefore sends such a request under a key, which the request itself has too.
func sentBefore(body string) func(*service, *request) {
	return func(s *service, r *request) {
		key := `"` + rand.Text() + `"`
		r.header.Set("Idempotency-Key", key)
		if a := s.call(r.method, r.path, body, "Idempotency-Key: "+key); a.status >= 300 {
			s.t.Fatalf("%d %s", a.status, a.body)
		}
	}
}

func query(text string) func(*service, *request) {
	return func(_ *service, r *request) { r.query = text }
}

func accept(types string) func(*service, *request) {
	return func(_ *service, r *request) { r.header.Set("Accept", types) }
}

// withTask makes it a request about a new task with this history.
func withTask(h history) func(*service, *request) {
	return func(s *service, r *request) { r.values["id"] = s.add(h) }
}

// failing lets the store fail from then on.
func failing(err error) func(*service, *request) {
	return func(s *service, r *request) {
		withTask(pending)(s, r)
		s.store.set(func(context.Context) error { return err })
	}
}

// goneTask is a repeated request, and what it has created was deleted: of tasks the first; of
// a bulk action, which no request deletes, the store says so.
func goneTask(s *service, r *request) {
	if r.OperationID == "startBulk" {
		r.header.Set("Idempotency-Key", rand.Text())
		failing(domain.TaskGone(domain.NewTaskID(time.Now())))(s, r)
		return
	}
	sentBefore(r.body)(s, r)
	first := ids.FindString(s.call(r.method, r.path, r.body, "Idempotency-Key: "+r.header.Get("Idempotency-Key")).body)
	s.call(http.MethodPatch, "/tasks/"+first, `{"status":"canceled"}`)
	s.call(http.MethodDelete, "/tasks/"+first, "")
}

// shortReadTimeout is a server that a test can wait for.
func shortReadTimeout(cfg *httpapi.Config) { cfg.ReadTimeout = time.Second }

// stallUpload lets the body never arrive.
func stallUpload(s *service, r *request) {
	withTask(pending)(s, r)
	upload, rest := io.Pipe()
	s.t.Cleanup(func() { _ = rest.Close() })
	r.upload = upload
}

// occupySlot takes the only place for a request until the test ends.
func occupySlot(s *service, r *request) {
	withTask(pending)(s, r)
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
