package e2e

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/test/programs"
)

// ask makes a request with headers, each "Name: value", and returns the answer. It may be
// called from any goroutine.
func ask(t *testing.T, method, url, body string, headers ...string) (status int, text string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	defer res.Body.Close()
	all, err := io.ReadAll(res.Body)
	if err != nil {
		t.Error(err)
	}
	return res.StatusCode, string(all)
}

// A task is deleted by one API while a client waits for it at another, which then answers
// the repeat of its key; and its entry on the queue disturbs no worker.
func TestDelete_HoldsAtAllAPIsAndItsKeyMakesNoSecondTask(t *testing.T) {
	t.Parallel()
	d := deployAll(t)
	other := programs.FreeAddr(t)
	d.program("api", "LISTEN_ADDR="+other)
	programs.WaitReady(t, other)
	const body = `{"message":"once"}`
	first, _ := repeat(t, []string{d.addr}, 0, "k", body)
	path := "/tasks/" + first.ID
	if status, text := ask(t, http.MethodDelete, "http://"+other+path, ""); status != http.StatusConflict || !strings.Contains(text, "cancel it first") {
		t.Errorf("delete of a pending task: %d %s", status, text)
	}
	d.call(http.MethodPatch, path, `{"status":"canceled"}`, http.StatusOK, nil)

	waited := make(chan int, 1)
	go func() {
		status, _ := ask(t, http.MethodGet, "http://"+other+path+"?wait=60", "", `If-None-Match: "2"`)
		waited <- status
	}()
	time.Sleep(100 * time.Millisecond) // so that it waits; otherwise the answer is the same
	d.call(http.MethodDelete, path, "", http.StatusNoContent, nil)
	if status := <-waited; status != http.StatusNotFound {
		t.Errorf("who waited for the task is answered %d, not 404", status)
	}
	for _, addr := range []string{d.addr, other} {
		for range 2 {
			status, text := ask(t, http.MethodPost, "http://"+addr+"/tasks", body, "Content-Type: application/json", "Idempotency-Key: k")
			if status != http.StatusGone || !strings.Contains(text, "/problems/gone") || !strings.Contains(text, first.ID) {
				t.Errorf("the repeat: %d %s", status, text)
			}
		}
		if status, text := ask(t, http.MethodDelete, "http://"+addr+path, ""); status != http.StatusNotFound {
			t.Errorf("the second deletion: %d %s", status, text)
		}
	}
	d.worker()
	d.becomes(d.submit("another").ID, "completed")
	if n := d.count("pending") + d.count("canceled") + d.count("completed"); n != 1 {
		t.Errorf("%d tasks are stored, want the other one", n)
	}
}
