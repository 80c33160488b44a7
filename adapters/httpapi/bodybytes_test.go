package httpapi_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/adapters/httpapi"
)

// bodyOf is a submission of about n bytes.
func bodyOf(n int) string { return `{"message":"` + strings.Repeat("m", n) + `"}` }

func TestBodies_WaitForRoomInBytesAndAreTurnedAway(t *testing.T) {
	s := newService(t, func(cfg *httpapi.Config) {
		cfg.MessageBytes, cfg.BodyBytes, cfg.WriteTimeout = 300_000, 200_000, time.Minute
	})
	arrived, release := make(chan struct{}, 10), make(chan struct{})
	s.store.set(func(context.Context) error {
		arrived <- struct{}{}
		<-release
		return nil
	})
	var wait sync.WaitGroup
	submit := func(n int) {
		wait.Go(func() { wantStatus(t, s.call("POST", "/tasks", bodyOf(n)), http.StatusCreated) })
	}
	submit(150_000)
	<-arrived

	wantProblem(t, s.call("POST", "/tasks", bodyOf(60_000)), http.StatusServiceUnavailable, "overloaded", "")
	wantProblem(t, s.call("POST", "/tasks/batch", `{"tasks":[`+bodyOf(60_000)+`]}`), http.StatusServiceUnavailable, "overloaded", "")
	submit(1000) // has room beside the large one
	<-arrived

	submit(60_000) // waits for room
	time.Sleep(200 * time.Millisecond)
	close(release)
	wait.Wait()
	submit(250_000) // more than there is takes all
	wait.Wait()
	s.store.set(nil)
	if id := s.submit("after"); id == "" {
		t.Error("the room is not free again")
	}
}

func wantStatus(t *testing.T, a answer, want int) {
	t.Helper()
	if a.status != want {
		t.Errorf("%d, not %d: %s", a.status, want, a.body)
	}
}

// A body whose length is not announced takes more room when it turns out to be long.
func TestBodies_OfUnknownLengthTakeRoomAsTheyGrow(t *testing.T) {
	s := newService(t, func(cfg *httpapi.Config) { cfg.MessageBytes, cfg.BodyBytes = 300_000, 200_000 })
	base := runAndStop(t, s.server)
	for _, n := range []int{100, 60_000, 64 << 10, 100_000, 250_000} {
		body := bodyOf(n)
		res, err := http.Post(base+"/tasks", "application/json", io.MultiReader(strings.NewReader(body)))
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if res.StatusCode != http.StatusCreated || !strings.Contains(string(text), strings.Repeat("m", n)) {
			t.Errorf("%d bytes: %d", n, res.StatusCode)
		}
	}
}

// Slow uploads that have taken all room do not keep others out.
func TestBodies_SlowUploadsMakeRoom(t *testing.T) {
	s := newService(t, func(cfg *httpapi.Config) {
		cfg.MessageBytes, cfg.BodyBytes, cfg.ReadTimeout = 300_000, 200_000, 10*time.Minute
	})
	base := runAndStop(t, s.server)
	said := make(chan string, 4)
	for range 4 {
		conn := dial(t, base)
		go func() {
			said <- sendSlowly(conn, "POST /tasks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 50000\r\n\r\n", " ")
		}()
	}
	time.Sleep(1200 * time.Millisecond) // all have their room, and have had their time
	wantStatus(t, s.call("POST", "/tasks", bodyOf(1000)), http.StatusCreated)
	if answer := <-said; !strings.Contains(answer, " 408 ") {
		t.Errorf("a slow upload gets %.60q", answer)
	}
}
