//go:build upgrade

package upgrade

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/test/programs"
)

// route is how a task went: the API that took it and the worker that did it.
type route struct{ api, worker string }

// receiver is the webhook of all workers, each at a path of its own.
type receiver struct {
	*httptest.Server
	mu   sync.Mutex
	done map[string][]string // by task: the workers that it was taken from
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{done: map[string][]string{}}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

// ServeHTTP takes a message. One that says so is refused once, so that another
// worker may get its second attempt.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	message, _ := io.ReadAll(req.Body) // a worker that goes away sends it again
	if strings.HasPrefix(string(message), "again") && req.Header.Get("Millrace-Attempt") == "1" {
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	id := req.Header.Get("Webhook-Id")
	r.done[id] = append(r.done[id], strings.TrimPrefix(req.URL.Path, "/"))
}

// workers are those that the task was taken from.
func (r *receiver) workers(id string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.done[id]
}

// load submits tasks, all the time, through the APIs that are in use.
type load struct {
	t    *testing.T
	next atomic.Int64

	using sync.RWMutex // held for reading while a request is under way
	apis  []*api

	mu    sync.Mutex
	taken map[string]string // by task: the API
}

// bodies are what is submitted in turn.
var bodies = []string{
	`{"message":"plain %d"}`,
	`{"message":"mail %d","queue":"mail","priority":5,"metadata":{"customer":"42"}}`,
	`{"message":"again %d","max_attempts":3}`,
	`{"message":"later %d","delay":0.5}`,
}

// startLoad submits until the returned function is called.
func startLoad(t *testing.T) (l *load, stop func()) {
	t.Helper()
	l = &load{t: t, taken: map[string]string{}}
	ended := make(chan struct{})
	var posting sync.WaitGroup
	for range 4 {
		posting.Go(func() {
			for {
				select {
				case <-ended:
					return
				case <-time.After(20 * time.Millisecond):
					l.submit()
				}
			}
		})
	}
	stop = sync.OnceFunc(func() { close(ended); posting.Wait() })
	t.Cleanup(stop)
	return l, stop
}

// use submits through these APIs from now on: no request is under way at another
// one once it returns.
func (l *load) use(apis ...*api) {
	l.using.Lock()
	defer l.using.Unlock()
	l.apis = apis
}

func (l *load) submit() {
	l.using.RLock()
	defer l.using.RUnlock()
	if len(l.apis) == 0 || l.t.Failed() {
		return
	}
	n := int(l.next.Add(1))
	a := l.apis[n/len(bodies)%len(l.apis)]
	if id := a.submit(fmt.Sprintf(bodies[n%len(bodies)], n), ""); id != "" {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.taken[id] = a.name
	}
}

// done counts the tasks that were done, by their routes.
func (l *load) done(r *receiver) map[route]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	n := map[route]int{}
	for id, api := range l.taken {
		for _, worker := range r.done[id] {
			n[route{api, worker}]++
		}
	}
	return n
}

// more waits until so many more tasks went each of the routes.
func (l *load) more(r *receiver, n int, routes ...route) {
	l.t.Helper()
	before := l.done(r)
	for _, way := range routes {
		programs.Eventually(l.t, programs.Patience, fmt.Sprintf("%d more tasks from the %s API by the %s worker", n, way.api, way.worker),
			func() bool { return l.done(r)[way] >= before[way]+n })
	}
}

// settle waits until every task that was answered with 201 has completed, and
// expects that each was done once.
func (l *load) settle(r *receiver, a *api) {
	l.t.Helper()
	for id, by := range l.taken {
		programs.Eventually(l.t, programs.Patience, "task "+id+" of the "+by+" API has completed", func() bool {
			return a.status(id) == "completed"
		})
		if workers := r.workers(id); len(workers) != 1 {
			l.t.Errorf("task %s of the %s API was done by %v, not once", id, by, workers)
		}
	}
	l.t.Logf("%d tasks were taken, and done by: %v", len(l.taken), l.done(r))
}

// api is a running API.
type api struct {
	t          *testing.T
	name, addr string
	*programs.Process
}

// call makes a request and decodes the answer. It may be called from any goroutine.
func (a *api) call(method, path, body, key string, want int, into any) {
	a.t.Helper()
	req, err := http.NewRequestWithContext(a.t.Context(), method, "http://"+a.addr+path, strings.NewReader(body))
	if err != nil {
		a.t.Error(err)
		return
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		a.t.Errorf("%s API: %v", a.name, err)
		return
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != want {
		a.t.Errorf("%s API: %s %s: %d, not %d: %s %v", a.name, method, path, res.StatusCode, want, text, err)
		return
	}
	if err := json.Unmarshal(text, into); err != nil {
		a.t.Errorf("%s API: %s %s: %v: %s", a.name, method, path, err, text)
	}
}

// submit submits a task and returns its id.
func (a *api) submit(body, key string) string {
	a.t.Helper()
	var task struct{ ID string }
	a.call(http.MethodPost, "/tasks", body, key, http.StatusCreated, &task)
	return task.ID
}

func (a *api) status(id string) string {
	a.t.Helper()
	var task struct{ Status string }
	a.call(http.MethodGet, "/tasks/"+id, "", "", http.StatusOK, &task)
	return task.Status
}
