package httpapi

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/application/usecase"
	"github.com/millrace/millrace/domain"
)

// What a request costs besides the store and the queue, which do nothing here.

var (
	benchMessage = strings.Repeat("0123456789", 10)
	benchBody    = `{"message":"` + benchMessage + `"}`
	fullBody     = `{"message":"` + benchMessage + `","queue":"mail","priority":3,"delay":1.5,"max_attempts":3,"timeout":30,` +
		`"metadata":{"customer":"c-1042","region":"eu"}}`
)

// idleStore takes every task, and has one.
type idleStore struct {
	application.TaskRepository
	task *domain.Task
}

func (s idleStore) Add(_ context.Context, tasks ...*domain.Task) error {
	for _, t := range tasks {
		t.MarkStored()
	}
	return nil
}

func (s idleStore) Get(context.Context, domain.TaskID) (*domain.Task, error) { return s.task, nil }

// idleQueue takes every entry.
type idleQueue struct{ application.Queue }

func (idleQueue) Push(context.Context, ...application.Entry) error { return nil }

type benchClock struct{}

func (benchClock) Now() time.Time { return domain.Moment(time.Now()) }

type ignoreStore struct{}

func (ignoreStore) StoreCalled(context.Context, application.Loop, error) {}

// completedTask has all the parts that most tasks come to have.
func completedTask(b *testing.B) *domain.Task {
	b.Helper()
	now := time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC)
	t, err := domain.NewTask(domain.TaskSpec{
		Message: benchMessage, MaxAttempts: new(5), Timeout: new(30 * time.Second), Metadata: map[string]string{"customer": "c-1042", "region": "eu"},
	}, now)
	if err != nil {
		b.Fatal(err)
	}
	if err := t.Claim(domain.Claim{Worker: "w", Timeout: time.Minute}, now); err != nil {
		b.Fatal(err)
	}
	if err := t.Complete(1, "done", now.Add(time.Second)); err != nil {
		b.Fatal(err)
	}
	return t
}

func batchOf(n int, task string) string {
	return `{"tasks":[` + strings.Repeat(task+",", n-1) + task + `]}`
}

// sink is a ResponseWriter that keeps nothing but the status.
type sink struct {
	header http.Header
	status int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(status int)      { s.status = status }
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }

func (*sink) SetReadDeadline(time.Time) error { return nil }

func BenchmarkHandler(b *testing.B) {
	task := completedTask(b)
	clock := benchClock{}
	limits := usecase.SubmitLimits{MessageBytes: 256 << 10, MaxAttempts: 5, KeyLife: time.Hour}
	store := idleStore{task: task}
	handler := NewServer(Config{}, UseCases{
		Submit:    usecase.NewSubmitTasks(store, idleQueue{}, clock, application.NoEvents{}, limits),
		Get:       usecase.NewGetTask(store),
		Readiness: usecase.NewCheckReadiness(),
	}, ignoreStore{}, slog.New(slog.DiscardHandler)).Handler()
	for _, c := range []struct{ name, method, path, body string }{
		{"Post", http.MethodPost, "/tasks", benchBody},
		{"PostFull", http.MethodPost, "/tasks", fullBody},
		{"PostBatch100", http.MethodPost, "/tasks/batch", batchOf(100, benchBody)},
		{"PostBatch1000", http.MethodPost, "/tasks/batch", batchOf(1000, benchBody)},
		{"Get", http.MethodGet, "/tasks/" + task.ID().String(), ""},
	} {
		b.Run(c.name, func(b *testing.B) {
			template := httptest.NewRequest(c.method, c.path, nil)
			template.Host = "localhost"
			if c.body != "" {
				template.Header.Set("Content-Type", typeJSON)
			}
			b.ReportAllocs()
			for b.Loop() {
				r := *template
				u := *template.URL
				r.URL = &u
				r.Body, r.ContentLength = io.NopCloser(strings.NewReader(c.body)), int64(len(c.body))
				w := &sink{header: http.Header{}}
				handler.ServeHTTP(w, &r)
				if w.status >= 400 {
					b.Fatalf("status %d", w.status)
				}
			}
		})
	}
}

// differing are bodies of one task, each with a message of its own: the library
// caches short texts that are repeated, and those of clients are not.
func differing(n int, body string) []string {
	bodies := make([]string, n)
	for i := range bodies {
		bodies[i] = strings.Replace(body, benchMessage, fmt.Sprintf("%.96s%04d", benchMessage, i), 1)
	}
	return bodies
}

func BenchmarkDecode(b *testing.B) {
	for _, c := range []struct{ name, body string }{
		{"Short", benchBody}, {"Full", fullBody}, {"Null", `{"message":"null","metadata":{"m":"` + benchMessage + `"}}`},
	} {
		b.Run(c.name, func(b *testing.B) {
			bodies := differing(1000, c.body)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, err := decodeTask([]byte(bodies[i%len(bodies)]), traceContext{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	for _, n := range []int{100, 1000} {
		b.Run(fmt.Sprintf("Batch%d", n), func(b *testing.B) {
			body := []byte(`{"tasks":[` + strings.Join(differing(n, benchBody), ",") + `]}`)
			b.ReportAllocs()
			for b.Loop() {
				var in usecase.SubmitTasksInput
				if err := decodeBatch(body, traceContext{}, &in); len(in.Tasks) != n || len(in.Unreadable) > 0 || err != nil {
					b.Fatal(in.Unreadable, err)
				}
			}
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	task := completedTask(b)
	b.Run("Task", func(b *testing.B) {
		w := &sink{header: http.Header{}}
		b.ReportAllocs()
		for b.Loop() {
			writeTask(w, http.StatusOK, task)
		}
	})
	tasks := make([]*domain.Task, 1000)
	for i := range tasks {
		tasks[i] = task
	}
	b.Run("Batch1000", func(b *testing.B) {
		w := &sink{header: http.Header{}}
		b.ReportAllocs()
		for b.Loop() {
			writeTasks(w, http.StatusCreated, tasks, pageEnd{})
		}
	})
}
