package webhook

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/millrace/millrace/application"
)

const (
	// maxDrain is how much of an answer is read beyond the result, so that its connection
	// can be used again; the connection of a longer answer is closed.
	maxDrain = 256 << 10
	// drainTime bounds that, because a slot is worth more than a connection.
	drainTime = time.Second
	// maxExcerpt bounds what an error quotes of an answer, in bytes.
	maxExcerpt = 300
	// maxRetryAfter bounds the wait that an answer may ask for.
	maxRetryAfter = 24 * time.Hour
)

// outcome interprets the answer: 2xx is success; 410, 422 and Millrace-Permanent are
// permanent errors; 429 and 503 say when to retry; anything else is retried.
func (h *Handler) outcome(ctx context.Context, res *http.Response) (string, error) {
	var body string
	var err error
	if res.StatusCode >= http.StatusOK { // the body of 101 would be the bare connection
		body, err = readBody(res)
	}
	if success := res.StatusCode >= 200 && res.StatusCode < 300; success && err == nil {
		return body, nil
	} else if success {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return "", fmt.Errorf("the answer of the webhook at %s was cut short: %w", h.url.Host, err)
	}
	err = h.failure(res, body)
	switch res.StatusCode {
	case http.StatusGone, http.StatusUnprocessableEntity:
		return "", application.Permanent(err)
	}
	if strings.EqualFold(res.Header.Get(headerPermanent), "true") {
		return "", application.Permanent(err)
	}
	switch res.StatusCode {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		if wait := retryAfter(res.Header, time.Now()); wait > 0 {
			return "", application.RetryAfter(err, wait)
		}
	}
	return "", err
}

// failure says what the answer was, and quotes its first line.
func (h *Handler) failure(res *http.Response, body string) error {
	status := strings.TrimSpace(strconv.Itoa(res.StatusCode) + " " + http.StatusText(res.StatusCode))
	text := fmt.Sprintf("the webhook at %s answered %s", h.url.Host, status)
	if res.StatusCode >= 300 && res.StatusCode < 400 && res.StatusCode != http.StatusNotModified { // which leads nowhere else
		return errors.New(text + ": redirects are not followed")
	}
	if line := excerpt(body); line != "" {
		text += ": " + line
	}
	return errors.New(text)
}

// excerpt is the first line of a text that is not blank, cut and made printable.
func excerpt(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	end := ""
	if len(line) > maxExcerpt {
		line, end = line[:maxExcerpt], "…"
	}
	shown := strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '\uFFFD'
	}, strings.ToValidUTF8(strings.TrimSpace(line), "\uFFFD"))
	return shown + end
}

// retryAfter parses the Retry-After header: seconds, or a date, which is compared with
// the answer's Date header if there is one. 0 means that there is no valid value.
func retryAfter(header http.Header, now time.Time) time.Duration {
	value := strings.TrimSpace(header.Get("Retry-After"))
	if seconds, err := strconv.ParseUint(value, 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(min(seconds, uint64(maxRetryAfter/time.Second))) * time.Second
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	if sent, err := http.ParseTime(header.Get("Date")); err == nil {
		now = sent
	}
	return min(max(at.Sub(now), 0), maxRetryAfter)
}
