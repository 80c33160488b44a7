package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/millrace/millrace/test/programs"
	"github.com/millrace/millrace/test/services"
)

func TestMain(m *testing.M) { os.Exit(programs.Main(m)) }

// deployment is API and workers as processes on servers of their own.
type deployment struct {
	t    *testing.T
	env  []string // DATABASE_URL, QUEUE_URL
	addr string
	api  *programs.Process
}

// deploy starts an API on the given servers; extra is environment for all programs.
func deploy(t *testing.T, database, queue string, extra ...string) *deployment {
	t.Helper()
	d := &deployment{t: t, env: append([]string{"DATABASE_URL=" + database, "QUEUE_URL=" + queue}, extra...), addr: programs.FreeAddr(t)}
	d.api = d.program("api", "LISTEN_ADDR="+d.addr)
	d.ready()
	return d
}

// deployAll starts an API on a PostgreSQL database and a Redis of the test's own.
func deployAll(t *testing.T, extra ...string) *deployment {
	t.Helper()
	return deploy(t, services.PostgreSQL(t), services.Redis(t), extra...)
}

func (d *deployment) program(name string, env ...string) *programs.Process {
	d.t.Helper()
	return programs.Start(d.t, d.t.TempDir(), append(append([]string{"HANDLER=log:"}, d.env...), env...), name)
}

func (d *deployment) worker(env ...string) *programs.Process {
	d.t.Helper()
	return d.program("worker", env...)
}

// ready waits until the API says so.
func (d *deployment) ready() {
	d.t.Helper()
	programs.WaitReady(d.t, d.addr)
}

// task is what clients see of a task.
type task struct {
	ID        string `json:"id"`
	Message   string `json:"message"`
	Status    string `json:"status"`
	CreatedAt string `json:"created_at"`
	UpdatedAt string `json:"updated_at"`
	Attempt   int    `json:"attempt"`
	Failures  int    `json:"failures"`
	LastError string `json:"last_error"`
	Result    string `json:"result"`
}

func decoded(text string) task {
	var got task
	_ = json.Unmarshal([]byte(text), &got) // what is no task has no status
	return got
}

// call makes a request and decodes an answer of the wanted status.
func (d *deployment) call(method, path, body string, want int, into any) {
	d.t.Helper()
	status, text := call(d.t, "http://"+d.addr, method, path, body)
	if status != want {
		d.t.Fatalf("%s %s: %d, not %d: %s", method, path, status, want, text)
	}
	if into != nil {
		if err := json.Unmarshal([]byte(text), into); err != nil {
			d.t.Fatalf("%s %s: %v: %s", method, path, err, text)
		}
	}
}

// call makes a request and returns the answer. It may be called from any goroutine.
func call(t *testing.T, base, method, path, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, base+path, strings.NewReader(body))
	if err != nil {
		t.Errorf("%s %s: %v", method, path, err)
		return 0, ""
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Errorf("%s %s: %v", method, path, err)
		return 0, ""
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Errorf("%s %s: read the answer: %v", method, path, err)
	}
	return res.StatusCode, string(text)
}

func (d *deployment) submit(message string) task {
	d.t.Helper()
	var got task
	body, err := json.Marshal(map[string]string{"message": message})
	if err != nil {
		d.t.Fatal(err)
	}
	d.call(http.MethodPost, "/tasks", string(body), http.StatusCreated, &got)
	return got
}

func (d *deployment) get(id string) task {
	d.t.Helper()
	var got task
	d.call(http.MethodGet, "/tasks/"+id, "", http.StatusOK, &got)
	return got
}

// becomes waits until the task has the status.
func (d *deployment) becomes(id, status string) task {
	d.t.Helper()
	var got task
	programs.Eventually(d.t, programs.Patience, "task "+id+" is "+status, func() bool {
		got = d.get(id)
		return got.Status == status
	})
	return got
}

// count counts the tasks of a status, page by page.
func (d *deployment) count(status string) int {
	d.t.Helper()
	n, cursor := 0, ""
	for {
		var page struct {
			Tasks      []task `json:"tasks"`
			NextCursor string `json:"next_cursor"`
		}
		d.call(http.MethodGet, fmt.Sprintf("/tasks?status=%s&limit=200%s", status, cursor), "", http.StatusOK, &page)
		n += len(page.Tasks)
		if page.NextCursor == "" {
			return n
		}
		cursor = "&cursor=" + page.NextCursor
	}
}
