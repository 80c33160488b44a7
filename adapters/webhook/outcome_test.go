package webhook

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

// answer answers every request with the status, headers as name and value, and body.
func answer(status int, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body) // 204 and 304 have none
	}
}

func TestHandler_CompletesOnEvery2xx(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]string{200: "done\n", 201: "done\n", 202: "done\n", 204: "", 299: "done\n"} {
		got, err := post(t, answer(status, "done\n", "Millrace-Permanent", "true", "Retry-After", "5"))
		if err != nil || got != want {
			t.Errorf("%d: result %q, error %v", status, got, err)
		}
	}
}

func TestHandler_FailsOnEveryOtherAnswer(t *testing.T) {
	t.Parallel()
	const soon = 5 * time.Second
	for _, c := range []struct {
		status    int
		headers   []string
		permanent bool
		after     time.Duration
		reason    string
	}{
		{status: 300, reason: "answered 300 Multiple Choices: redirects are not followed"},
		{status: 302, headers: []string{"Location", "/elsewhere"}, reason: "answered 302 Found: redirects are not followed"},
		{status: 304, reason: "answered 304 Not Modified"},
		{status: 308, headers: []string{"Location", "http://127.0.0.1:1/"}, reason: "answered 308 Permanent Redirect: redirects"},
		{status: 400, reason: "answered 400 Bad Request: first line"},
		{status: 404, reason: "answered 404 Not Found: first line"},
		{status: 410, permanent: true, reason: "answered 410 Gone: first line"},
		{status: 422, permanent: true, reason: "answered 422 Unprocessable Entity: first line"},
		{status: 422, headers: []string{"Retry-After", "5"}, permanent: true},
		{status: 429, reason: "answered 429 Too Many Requests: first line"},
		{status: 429, headers: []string{"Retry-After", "5"}, after: soon},
		{status: 503, headers: []string{"Retry-After", "5"}, after: soon, reason: "answered 503 Service Unavailable: first line"},
		{status: 503, headers: []string{"Retry-After", "soon"}},
		{status: 503, headers: []string{"Retry-After", "5", "Millrace-Permanent", "true"}, permanent: true},
		{status: 500, headers: []string{"Retry-After", "5"}, reason: "answered 500 Internal Server Error: first line"},
		{status: 500, headers: []string{"Millrace-Permanent", "TRUE"}, permanent: true},
		{status: 500, headers: []string{"Millrace-Permanent", "false"}},
		{status: 400, headers: []string{"Millrace-Permanent", "true"}, permanent: true},
		{status: 777, reason: "answered 777: first line"},
	} {
		_, err := post(t, answer(c.status, "first line\nsecond line", c.headers...))
		if err == nil {
			t.Errorf("%d is no failure", c.status)
			continue
		}
		f := application.FailureOf(err)
		if f.Permanent != c.permanent || f.RetryAfter != c.after || !strings.Contains(f.Reason, c.reason) || strings.Contains(f.Reason, "second") {
			t.Errorf("%d with %v: %+v", c.status, c.headers, f)
		}
	}
}

func TestHandler_FollowsNoRedirect(t *testing.T) {
	t.Parallel()
	for _, status := range []int{301, 302, 303, 307, 308} {
		asked := 0
		_, err := post(t, func(w http.ResponseWriter, r *http.Request) {
			asked++
			http.Redirect(w, r, "/elsewhere", status)
		})
		if err == nil || asked != 1 {
			t.Errorf("%d: %d requests, error %v", status, asked, err)
		}
	}
}

// A receiver that switches protocols keeps the connection open and says no more.
func TestHandler_TakesASwitchOfProtocolsForAFailure(t *testing.T) {
	t.Parallel()
	_, err := post(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, buf, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = buf.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
		_ = buf.Flush()
		_, _ = io.Copy(io.Discard, conn) // until it is closed
	})
	if err == nil || !strings.Contains(err.Error(), "101") {
		t.Errorf("error %v", err)
	}
}

func TestHandler_ReadsNoMoreThanATaskKeeps(t *testing.T) {
	t.Parallel()
	for _, n := range []int{domain.MaxResult, domain.MaxResult + 1, 10 << 20} {
		got, err := post(t, answer(http.StatusOK, strings.Repeat("x", n)))
		if want := min(n, domain.MaxResult+1); err != nil || len(got) != want {
			t.Errorf("of %d bytes it read %d, not %d; error %v", n, len(got), want, err)
		}
	}
	_, err := post(t, answer(http.StatusInternalServerError, strings.Repeat("x", 10<<20)))
	if err == nil || len(err.Error()) > 2*maxExcerpt {
		t.Errorf("error of %d bytes", len(err.Error()))
	}
}

// An answer that never ends ends where a task would cut it.
func TestHandler_LeavesAnEndlessAnswer(t *testing.T) {
	t.Parallel()
	got, err := post(t, func(w http.ResponseWriter, r *http.Request) {
		for line := strings.Repeat("x", 4<<10); r.Context().Err() == nil; {
			if _, err := io.WriteString(w, line); err != nil {
				return
			}
		}
	})
	if err != nil || len(got) != domain.MaxResult+1 {
		t.Errorf("%d bytes, error %v", len(got), err)
	}
}

func TestHandler_TriesAnAnswerThatBrokeOffAgain(t *testing.T) {
	t.Parallel()
	_, err := post(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "half")
	})
	if err == nil || application.FailureOf(err).Permanent || !strings.Contains(err.Error(), "was cut short") {
		t.Errorf("error %v", err)
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	date := func(d time.Duration) string { return now.Add(d).Format(http.TimeFormat) }
	for _, c := range []struct {
		value, date string
		want        time.Duration
	}{
		{"", "", 0},
		{"0", "", 0},
		{"7", "", 7 * time.Second},
		{" 120 ", "", 2 * time.Minute},
		{"86400", "", 24 * time.Hour},
		{"86401", "", 24 * time.Hour},
		{"18446744073709551615", "", 24 * time.Hour},
		{"99999999999999999999999", "", 24 * time.Hour},
		{"-1", "", 0},
		{"1.5", "", 0},
		{"soon", "", 0},
		{date(time.Minute), "", time.Minute},
		{date(-time.Minute), "", 0},
		{date(48 * time.Hour), "", 24 * time.Hour},
		{date(time.Hour), date(59 * time.Minute), time.Minute}, // of a server whose clock is ahead
		{date(time.Minute), "nonsense", time.Minute},
		{now.Add(time.Minute).Format(time.RFC850), "", time.Minute},
	} {
		header := http.Header{"Retry-After": {c.value}, "Date": {c.date}}
		if got := retryAfter(header, now); got != c.want {
			t.Errorf("%q, Date %q: %s, not %s", c.value, c.date, got, c.want)
		}
	}
}
