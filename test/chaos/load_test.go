package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// addr is an address that may change while others read it.
type addr struct{ v atomic.Pointer[string] }

func (a *addr) set(s string) { a.v.Store(&s) }

func (a *addr) get() string { return *a.v.Load() }

// load is many clients that submit, read and cancel, and what they saw.
type load struct {
	t       *testing.T
	addrs   []*addr
	client  *http.Client
	begun   time.Time
	halt    chan struct{}
	clients sync.WaitGroup
	crowded atomic.Bool // make no requests for now

	mu          sync.Mutex
	history     []operation
	accepted    []acceptance
	submissions []*submission
	bulks       []*bulk
	answers     map[string]int
	replays     int
	wrong       finding
}

// acceptance is a task whose submission was answered with success.
type acceptance struct {
	key, id string
	group   string    // that actions on many tasks are about
	sent    time.Time // for the first time
	at      time.Time
}

func newLoad(t *testing.T, addrs []*addr) *load {
	l := &load{
		t: t, addrs: addrs, begun: time.Now(), halt: make(chan struct{}), answers: map[string]int{},
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}},
	}
	t.Cleanup(l.stop)
	return l
}

// start starts clients that together make rate requests a second to the APIs,
// until stop, and none while too many tasks wait.
func (l *load) start(clients int, rate float64, seed uint64) {
	l.watchCrowd(seed)
	for i := range clients {
		l.clients.Go(func() { l.run(i, rate/float64(clients), rand.New(rand.NewPCG(seed, uint64(i)+1000))) })
	}
}

// stop stops the clients and waits for them.
func (l *load) stop() {
	l.mu.Lock()
	select {
	case <-l.halt:
	default:
		close(l.halt)
	}
	l.mu.Unlock()
	l.clients.Wait()
}

// halted reports whether the clients are to stop, after waiting for that at most so long.
func (l *load) halted(atMost time.Duration) bool {
	select {
	case <-time.After(atMost):
		return false
	case <-l.halt:
		return true
	}
}

func (l *load) run(client int, rate float64, r *rand.Rand) {
	next := time.Now()
	for n := 0; ; n++ {
		next = next.Add(time.Duration(r.ExpFloat64() / rate * float64(time.Second)))
		if late := time.Now(); next.Before(late) {
			next = late // an outage is not made up for by a storm
		}
		if l.halted(time.Until(next)) {
			return
		}
		if l.crowded.Load() {
			continue
		}
		// Some clients give up long before a call of the service does.
		patience := time.Duration(1+r.IntN(8)) * time.Second
		switch what := r.IntN(100); {
		case what < 36:
			l.submitAny(fmt.Sprintf("client %d, task %d", client, n), r, patience)
		case what < 39:
			l.replay(r, patience)
		case what < 41:
			l.submitWrong(fmt.Sprintf("client %d, task %d", client, n), r, patience)
		case what < 63:
			l.about(r, l.cancel, patience)
		case what < 85:
			l.about(r, l.get, patience)
		case what < 88:
			l.list(r, patience)
		case what < 91:
			l.queues(r, patience)
		case what < 96:
			l.about(r, l.explain, patience)
		case what < 98:
			l.bulk(r, patience)
		default:
			l.progress(r, patience)
		}
	}
}

// about makes a request about one of the tasks accepted last: it may well be
// waiting or running.
func (l *load) about(r *rand.Rand, request func(acceptance, *rand.Rand, time.Duration) bool, patience time.Duration) {
	l.mu.Lock()
	n := min(len(l.accepted), 50)
	if n == 0 {
		l.mu.Unlock()
		return
	}
	a := l.accepted[len(l.accepted)-1-r.IntN(n)]
	l.mu.Unlock()
	request(a, r, patience)
}

// cancel cancels a task. What belongs to a group is left to actions on many tasks:
// so it is known who has canceled it.
func (l *load) cancel(of acceptance, r *rand.Rand, patience time.Duration) bool {
	if of.group != "" {
		return false
	}
	op := operation{key: of.key, kind: opCancel, start: l.since()}
	a := l.call(r, patience, request{method: http.MethodPatch, path: "/tasks/" + of.id, body: `{"status":"canceled"}`})
	op.end = l.since()
	switch {
	case a.status == http.StatusOK && a.known():
		op.saw = a.seen()
	case a.status == http.StatusConflict:
		op.saw = observation{status: a.refused()}
	case a.status == http.StatusNotFound:
		op.saw = observation{status: absent}
	default:
		op.unknown = true
		l.expect(a, "cancel", http.StatusServiceUnavailable)
	}
	l.count("cancel", a)
	l.record(op)
	return !op.unknown
}

// get reads a task; false if there was no answer that says what it is.
func (l *load) get(of acceptance, r *rand.Rand, patience time.Duration) bool {
	op := operation{key: of.key, kind: opGet, start: l.since()}
	a := l.call(r, patience, request{method: http.MethodGet, path: "/tasks/" + of.id})
	op.end = l.since()
	switch {
	case a.status == http.StatusOK && a.known():
		op.saw = a.seen()
	case a.status == http.StatusNotFound:
		op.saw = observation{status: absent}
	default:
		op.unknown = true
		l.expect(a, "get", http.StatusServiceUnavailable)
	}
	l.count("get", a)
	l.record(op)
	return !op.unknown
}

func (l *load) since() int64 { return time.Since(l.begun).Nanoseconds() }

func (l *load) record(ops ...operation) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.history = append(l.history, ops...)
}

// count counts the answers by what was asked.
func (l *load) count(what string, a answer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	name := "no answer"
	if a.status != 0 {
		name = strconv.Itoa(a.status)
	}
	l.answers[what+" "+name]++
}

// expect notes an answer that nobody should ever get. That there is none is always possible.
func (l *load) expect(a answer, what string, statuses ...int) {
	if a.status != 0 && !slices.Contains(statuses, a.status) {
		l.unexpected("an answer to %s that nobody should get: %d %s", what, a.status, a.text)
	}
}

// unexpected notes something that a client has seen and should not.
func (l *load) unexpected(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wrong.add(format, args...)
}

// shown is a task as an answer shows it.
type shown struct {
	ID       string            `json:"id"`
	Message  string            `json:"message"`
	Status   string            `json:"status"`
	Attempt  int               `json:"attempt"`
	Queue    string            `json:"queue"`
	Metadata map[string]string `json:"metadata"`
}

// answer is what came back; status 0: nothing that could be read to its end.
type answer struct {
	status  int
	text    string
	header  http.Header
	version int64

	shown
	Tasks  []shown `json:"tasks"`
	Queues []struct {
		Name       string `json:"name"`
		MaxRunning *int   `json:"max_running"`
		Pending    int    `json:"pending"`
		Processing int    `json:"processing"`
	} `json:"queues"`
	Reasons []struct {
		Reason string `json:"reason"`
	} `json:"reasons"`
}

// known reports whether the answer shows a task.
func (a answer) known() bool { return a.ID != "" && a.version > 0 }

func (a answer) seen() observation {
	return observation{status: status(a.Status), version: a.version, attempt: a.Attempt}
}

var conflict = regexp.MustCompile(`an? (\w+) task cannot become canceled`)

// refused is the status that a conflict names.
func (a answer) refused() status {
	if m := conflict.FindStringSubmatch(a.text); m != nil {
		return status(m[1])
	}
	return status("a conflict that names no status: " + a.text)
}

type request struct {
	method, path, body string
	key                string // Idempotency-Key
}

// call makes one request to one of the APIs.
func (l *load) call(r *rand.Rand, patience time.Duration, q request) answer {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	to := l.addrs[r.IntN(len(l.addrs))].get()
	req, err := http.NewRequestWithContext(ctx, q.method, "http://"+to+q.path, strings.NewReader(q.body))
	if err != nil {
		panic(err)
	}
	if q.body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if q.key != "" {
		req.Header.Set("Idempotency-Key", q.key)
	}
	res, err := l.client.Do(req)
	if err != nil {
		return answer{}
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return answer{}
	}
	a := answer{status: res.StatusCode, text: string(text), header: res.Header}
	if a.status < 300 {
		if err := json.Unmarshal(text, &a); err != nil {
			l.t.Errorf("%s %s: %v: %s", q.method, q.path, err, text)
		}
		a.version, _ = strconv.ParseInt(strings.Trim(res.Header.Get("ETag"), `"`), 10, 64) // 0: see known
	}
	return a
}
