package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"regexp"
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

	mu       sync.Mutex
	history  []operation
	accepted []acceptance
	keyOf    map[string]string // by task id
	answers  map[string]int
	wrong    finding
}

// acceptance is a submission that was answered with success.
type acceptance struct {
	key, id string
	sent    time.Time
	at      time.Time
}

// startLoad starts clients that together make rate requests a second to
// the APIs, until stop.
func startLoad(t *testing.T, addrs []*addr, clients int, rate float64, seed uint64) *load {
	l := &load{
		t: t, addrs: addrs, begun: time.Now(), halt: make(chan struct{}), keyOf: map[string]string{}, answers: map[string]int{},
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}},
	}
	for i := range clients {
		l.clients.Go(func() { l.run(i, rate/float64(clients), rand.New(rand.NewPCG(seed, uint64(i)+1000))) })
	}
	t.Cleanup(l.stop)
	return l
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

func (l *load) run(client int, rate float64, r *rand.Rand) {
	next := time.Now()
	for n := 0; ; n++ {
		next = next.Add(time.Duration(r.ExpFloat64() / rate * float64(time.Second)))
		if late := time.Now(); next.Before(late) {
			next = late // an outage is not made up for by a storm
		}
		select {
		case <-time.After(time.Until(next)):
		case <-l.halt:
			return
		}
		// Some clients give up long before a call of the service does.
		patience := time.Duration(1+r.IntN(8)) * time.Second
		switch what := r.IntN(10); {
		case what < 6:
			l.submit(fmt.Sprintf("client %d, task %d", client, n), r, patience)
		case what < 8:
			if id, ok := l.recent(r); ok {
				l.cancel(id, r, patience)
			}
		default:
			if id, ok := l.recent(r); ok {
				l.get(id, r, patience)
			}
		}
	}
}

// recent picks one of the tasks accepted last: it may well be waiting or running.
func (l *load) recent(r *rand.Rand) (string, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := min(len(l.accepted), 50)
	if n == 0 {
		return "", false
	}
	return l.accepted[len(l.accepted)-1-r.IntN(n)].id, true
}

// submit submits a task whose message is key, and returns its id if it was accepted.
func (l *load) submit(key string, r *rand.Rand, patience time.Duration) (string, bool) {
	sent := time.Now()
	op := operation{key: key, kind: opSubmit, start: l.since()}
	body, err := json.Marshal(map[string]string{"message": key})
	if err != nil {
		panic(err)
	}
	a := l.call(r, patience, http.MethodPost, "/tasks", string(body))
	op.end = l.since()
	switch {
	case a.status == http.StatusCreated && a.known():
		op.saw = a.seen()
		l.mu.Lock()
		l.accepted = append(l.accepted, acceptance{key: key, id: a.ID, sent: sent, at: time.Now()})
		l.keyOf[a.ID] = key
		l.mu.Unlock()
	default:
		op.unknown = true
		l.expect(a, "submit", http.StatusServiceUnavailable)
	}
	l.record(op, a)
	return a.ID, !op.unknown
}

func (l *load) cancel(id string, r *rand.Rand, patience time.Duration) {
	op := operation{key: l.key(id), kind: opCancel, start: l.since()}
	a := l.call(r, patience, http.MethodPatch, "/tasks/"+id, `{"status":"canceled"}`)
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
	l.record(op, a)
}

// get reads a task; false if there was no answer that says what it is.
func (l *load) get(id string, r *rand.Rand, patience time.Duration) bool {
	op := operation{key: l.key(id), kind: opGet, start: l.since()}
	a := l.call(r, patience, http.MethodGet, "/tasks/"+id, "")
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
	l.record(op, a)
	return !op.unknown
}

func (l *load) since() int64 { return time.Since(l.begun).Nanoseconds() }

func (l *load) key(id string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.keyOf[id]
}

func (l *load) record(op operation, a answer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.history = append(l.history, op)
	name := "no answer"
	if a.status != 0 {
		name = strconv.Itoa(a.status)
	}
	l.answers[string(op.kind)+" "+name]++
}

// expect notes an answer that nobody should ever get.
func (l *load) expect(a answer, what string, status int) {
	if a.status == 0 || a.status == status {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wrong.add("an answer to %s that nobody should get: %d %s", what, a.status, a.text)
}

// answer is what came back; status 0: nothing that could be read to its end.
type answer struct {
	status  int
	text    string
	version int64

	ID      string `json:"id"`
	Status  string `json:"status"`
	Attempt int    `json:"attempt"`
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

// call makes one request to one of the APIs.
func (l *load) call(r *rand.Rand, patience time.Duration, method, path, body string) answer {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	to := l.addrs[r.IntN(len(l.addrs))].get()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+to+path, strings.NewReader(body))
	if err != nil {
		panic(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
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
	a := answer{status: res.StatusCode, text: string(text)}
	if a.status < 300 {
		if err := json.Unmarshal(text, &a); err != nil {
			l.t.Errorf("%s %s: %v: %s", method, path, err, text)
		}
		a.version, _ = strconv.ParseInt(strings.Trim(res.Header.Get("ETag"), `"`), 10, 64) // 0: see known
	}
	return a
}
