package chaos

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// taskSpec is a task as a client asks for it.
type taskSpec struct {
	Message     string            `json:"message"`
	Queue       string            `json:"queue,omitempty"`
	Priority    int               `json:"priority,omitempty"`
	Delay       float64           `json:"delay,omitempty"` // seconds
	MaxAttempts int               `json:"max_attempts,omitempty"`
	Timeout     float64           `json:"timeout,omitempty"` // seconds
	Metadata    map[string]string `json:"metadata,omitempty"`
}

func (w taskSpec) group() string { return w.Metadata["group"] }

// ordinary reports whether nothing but a fault makes the task wait.
func (w taskSpec) ordinary() bool {
	return w.Delay == 0 && w.Timeout == 0 && w.group() == "" && slices.Contains(unlimited, w.queue())
}

func (w taskSpec) queue() string {
	if w.Queue == "" {
		return "default"
	}
	return w.Queue
}

// submission is a request for tasks, however often it is sent.
type submission struct {
	key   string // Idempotency-Key; empty: none, and it is sent once
	batch bool
	specs []taskSpec
	wrong bool // it has to be refused
	sent  time.Time

	answered bool // with success; from then on, in the order of the specs:
	ids      []string
}

// single is a submission of a task of which nothing is said but its message.
func single(message string) *submission { return &submission{specs: []taskSpec{{Message: message}}} }

// keyOf is the key of the submission of that name.
func keyOf(name string) string { return strings.NewReplacer(" ", "-", ",", "").Replace(name) }

// draw makes up what a client asks for, which it has named.
func (l *load) draw(name string, r *rand.Rand) *submission {
	s := &submission{batch: r.IntN(100) < 3}
	if s.batch && r.IntN(2) == 0 || !s.batch && r.IntN(100) < 20 {
		s.key = keyOf(name)
	}
	if !s.batch {
		s.specs = []taskSpec{l.drawSpec(name, drawQueue(r), r)}
		return s
	}
	queue, mixed := drawQueue(r), r.IntN(2) == 0
	for i := range 2 + r.IntN(19) {
		if mixed {
			queue = drawQueue(r)
		}
		s.specs = append(s.specs, l.drawSpec(fmt.Sprintf("%s, item %d", name, i), queue, r))
	}
	return s
}

func (l *load) drawSpec(message, queue string, r *rand.Rand) taskSpec {
	w := taskSpec{Message: message, Queue: queue}
	if r.IntN(8) == 0 {
		w.Delay = float64(200+r.IntN(2801)) / 1000
	}
	if r.IntN(4) == 0 {
		w.Priority = r.IntN(10)
	}
	short := r.IntN(100) < 10 // for some of the workers
	if short {
		w.Timeout, w.MaxAttempts = float64(100+r.IntN(300))/1000, 1+r.IntN(2)
	}
	switch what := r.IntN(100); {
	case short || what < 10:
		w.Metadata = map[string]string{"group": l.group(0), "kind": "grouped"}
	case what < 25:
		w.Metadata = map[string]string{"kind": "alone"}
	}
	return w
}

// submitAny submits something; with a key perhaps several times at once, as a
// client does whose parts do not know of one another.
func (l *load) submitAny(name string, r *rand.Rand, patience time.Duration) {
	s := l.draw(name, r)
	twins := 1
	if s.key != "" && r.IntN(10) == 0 {
		twins = 3
	}
	var all sync.WaitGroup
	for range twins {
		random := rand.New(rand.NewPCG(r.Uint64(), r.Uint64()))
		all.Go(func() { l.submit(s, random, patience) })
	}
	all.Wait()
}

// submit sends the submission. With a key it sends it again, through any of the
// APIs, until there is an answer or the client has had enough; and then, perhaps,
// once more. It reports whether it was answered with success.
func (l *load) submit(s *submission, r *rand.Rand, patience time.Duration) bool {
	l.mu.Lock()
	if s.sent.IsZero() {
		s.sent = time.Now()
		l.submissions = append(l.submissions, s)
	}
	l.mu.Unlock()
	begun := l.since()
	tries := 1
	if s.key != "" {
		tries = 1 + r.IntN(40)
	}
	for n := 1; n <= tries; n++ {
		if n > 1 {
			l.halted(time.Duration(20+r.IntN(300)) * time.Millisecond) // and it goes on: it wants to know
		}
		switch l.send(s, r, patience) {
		case http.StatusCreated:
		case 0, http.StatusServiceUnavailable:
			continue
		default:
			return false
		}
		if n > 1 {
			l.record(s.operations(begun)...)
		}
		if s.key != "" && r.IntN(4) == 0 {
			l.send(s, r, patience)
		}
		return true
	}
	l.record(s.operations(begun)...)
	return false
}

// operations are tries of which nothing is known: one for all, as a key has an effect once.
func (s *submission) operations(begun int64) []operation {
	ops := make([]operation, len(s.specs))
	for i, w := range s.specs {
		ops[i] = operation{key: w.Message, kind: opSubmit, start: begun, unknown: true}
	}
	return ops
}

func (s *submission) request(r *rand.Rand) request {
	q := request{method: http.MethodPost, path: "/tasks", key: s.key}
	if s.key != "" && r.IntN(2) == 0 {
		q.key = `"` + s.key + `"` // the same key
	}
	var body any = s.specs[0]
	if s.batch {
		q.path, body = "/tasks/batch", map[string]any{"tasks": s.specs}
	}
	text, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	q.body = string(text)
	return q
}

// what names the submission's kind among the answers.
func (s *submission) what() string {
	what := "submit"
	if s.batch {
		what = "batch"
	}
	if s.key != "" {
		what += " with key"
	}
	return what
}

// send sends the submission once and returns the status of the answer.
func (l *load) send(s *submission, r *rand.Rand, patience time.Duration) int {
	start := l.since()
	a := l.call(r, patience, s.request(r))
	end := l.since()
	l.count(s.what(), a)
	if a.status != http.StatusCreated {
		l.expect(a, s.what(), http.StatusServiceUnavailable)
		return a.status
	}
	tasks := a.Tasks
	if !s.batch {
		tasks = []shown{a.shown}
	}
	replayed := a.header.Get("Idempotency-Replayed") == "true"
	ops := make([]operation, len(tasks))
	ids := make([]string, len(tasks))
	for i, task := range tasks {
		ids[i] = task.ID
		// A replay shows the task as it is by then; otherwise the task is born.
		op := operation{key: task.Message, kind: opSubmit, start: start, end: end}
		op.saw = observation{status: status(task.Status), version: 1, attempt: task.Attempt}
		if replayed {
			op.kind, op.saw.version = opGet, 0
		}
		if !s.batch {
			op.saw.version = a.version
		}
		ops[i] = op
	}
	l.accept(s, tasks, ids, replayed)
	l.record(ops...)
	return a.status
}

// accept notes the tasks of a submission that was answered with success.
func (l *load) accept(s *submission, tasks []shown, ids []string, replayed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fits := slices.EqualFunc(s.specs, tasks, func(w taskSpec, t shown) bool { return w.Message == t.Message && t.ID != "" })
	switch {
	case s.wrong || !fits:
		l.wrong.add("%s: a wrong answer: %+v", s.specs[0].Message, tasks)
		return
	case replayed && s.key == "":
		l.wrong.add("%s: a replay without a key", s.specs[0].Message)
	case s.answered && !slices.Equal(s.ids, ids):
		l.wrong.add("%s: the key was answered with the tasks %q, and then with %q", s.key, s.ids, ids)
	}
	if replayed {
		l.replays++
	}
	if s.answered {
		return
	}
	s.answered, s.ids = true, ids
	for i, w := range s.specs {
		l.accepted = append(l.accepted, acceptance{key: w.Message, id: ids[i], group: w.group(), sent: s.sent, at: time.Now()})
	}
}

// keyed picks one of the submissions with a key that were answered, of any age.
func (l *load) keyed(r *rand.Rand) *submission {
	l.mu.Lock()
	defer l.mu.Unlock()
	for range 50 {
		if len(l.submissions) == 0 {
			break
		}
		if s := l.submissions[r.IntN(len(l.submissions))]; s.key != "" && s.answered {
			return s
		}
	}
	return nil
}

// replay repeats a submission that was answered before.
func (l *load) replay(r *rand.Rand, patience time.Duration) {
	if s := l.keyed(r); s != nil {
		l.send(s, r, patience)
	}
}

// submitWrong submits what has to be refused: another request with a key that was
// used, or a batch of which one task is wrong. Once that is put right, its key is
// as good as new.
func (l *load) submitWrong(name string, r *rand.Rand, patience time.Duration) {
	wrong := &submission{wrong: true, batch: true}
	used := l.keyed(r)
	reuse := used != nil && r.IntN(2) == 0
	if reuse {
		wrong.key = used.key
	} else if r.IntN(2) == 0 {
		wrong.key = keyOf(name)
	}
	for i := range 2 + r.IntN(19) {
		wrong.specs = append(wrong.specs, l.drawSpec(fmt.Sprintf("%s, item %d", name, i), drawQueue(r), r))
	}
	bad := r.IntN(len(wrong.specs))
	if !reuse {
		wrong.specs[bad].Priority = 10
	}
	l.mu.Lock()
	l.submissions = append(l.submissions, wrong)
	l.mu.Unlock()
	a := l.call(r, patience, wrong.request(r))
	l.count("wrong batch", a)
	l.expect(a, "a wrong batch", http.StatusUnprocessableEntity, http.StatusServiceUnavailable)
	if a.status != http.StatusUnprocessableEntity {
		return
	}
	if reuse {
		if !strings.Contains(a.text, "idempotency_key_reused") {
			l.unexpected("another request with a key was refused with %s", a.text)
		}
		return
	}
	if !strings.Contains(a.text, fmt.Sprintf(`"/tasks/%d/priority"`, bad)) {
		l.unexpected("a batch whose task %d is wrong was refused with %s", bad, a.text)
	}
	right := &submission{key: wrong.key, batch: true}
	for _, w := range wrong.specs {
		w.Message, w.Priority = "right: "+w.Message, 9
		right.specs = append(right.specs, w)
	}
	l.submit(right, r, patience)
}
