// Package webhook is the handler that posts each task to a URL; the answer is the outcome.
// It knows HTTP and the Standard Webhooks specification, and nothing of queues and stores.
package webhook

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

var _ application.Handler = (*Handler)(nil)

// The headers that a receiver gets beside those of Standard Webhooks, and the
// one that it may answer with.
const (
	headerAttempt   = "Millrace-Attempt"   // counts from 1
	headerQueue     = "Millrace-Queue"     // which queue the task was on
	headerTrace     = "Traceparent"        // of the attempt, or of what made the task (W3C Trace Context), if there is one
	headerState     = "Tracestate"         // that goes with it
	headerDeadline  = "Millrace-Deadline"  // RFC 3339: an answer after it is not read
	headerPermanent = "Millrace-Permanent" // in an answer that is not 2xx, "true": no retry can help
)

// Config says where tasks go.
type Config struct {
	URL       string   // http or https; a user and password in it are sent as basic authorization
	Secrets   []string // whsec_…: each of them signs; none: requests carry no signature
	UserAgent string
	// Timeout bounds the time from the request to the end of the answer, whatever time the
	// attempt has; 0: the attempt's deadline is the only one.
	Timeout     time.Duration
	Concurrency int // how many tasks run at once, and so how many idle connections are kept
}

// Handler posts tasks to a URL. It is safe for concurrent use.
type Handler struct {
	url       *url.URL
	signers   []*standardwebhooks.Webhook
	userAgent string
	timeout   time.Duration
	client    *http.Client
	once      *http.Client // a connection of its own for every request
}

// New makes the handler; the returned function closes its idle connections. What
// is wrong with cfg is an error that shows neither URL nor secret.
func New(cfg Config) (*Handler, func(), error) {
	target, err := parseURL(cfg.URL)
	if err != nil {
		return nil, nil, err
	}
	signers := make([]*standardwebhooks.Webhook, len(cfg.Secrets))
	for i, secret := range cfg.Secrets {
		if signers[i], err = newSigner(secret); err != nil {
			return nil, nil, err
		}
	}
	loadRoots(target)
	transport, single := newTransport(cfg.Concurrency), newTransport(cfg.Concurrency)
	single.DisableKeepAlives = true
	return &Handler{
		url: target, signers: signers, userAgent: cfg.UserAgent, timeout: cfg.Timeout,
		client: newClient(transport), once: newClient(single),
	}, transport.CloseIdleConnections, nil
}

// parseURL has error messages of its own, because those of net/url repeat the URL.
func parseURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return nil, errors.New("it is not a URL")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("its scheme is neither http nor https")
	case u.Hostname() == "":
		return nil, errors.New("it names no host")
	case u.Fragment != "":
		return nil, errors.New("it has a fragment, which would not be sent")
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return nil, errors.New("its port is not from 1 to 65535")
		}
	}
	return u, nil
}

// Handle posts the task. A 2xx answer completes it, with the body as its result; outcome
// interprets the others. A connection that this machine has no descriptor or port for is
// NotStarted.
func (h *Handler) Handle(ctx context.Context, t *domain.Task) (string, error) {
	if h.timeout > 0 {
		limited, cancel := context.WithTimeoutCause(ctx, h.timeout, fmt.Errorf("it took longer than %s", h.timeout))
		defer cancel()
		ctx = limited
	}
	req, err := h.request(ctx, t)
	if err != nil {
		return "", err
	}
	res, err := h.do(req)
	if err != nil {
		return "", h.noAnswer(ctx, err)
	}
	defer res.Body.Close()
	return h.outcome(ctx, res)
}

func (h *Handler) request(ctx context.Context, t *domain.Task) (*http.Request, error) {
	message := t.Message()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url.String(), strings.NewReader(message))
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", withoutURL(err))
	}
	header := req.Header
	header.Set("User-Agent", h.userAgent)
	header.Set("Accept-Encoding", "identity") // the result is text
	header.Set("Content-Type", "text/plain; charset=utf-8")
	if jsontext.Value(message).IsValid(jsontext.AllowDuplicateNames(true)) {
		header.Set("Content-Type", "application/json")
	}
	header.Set(headerAttempt, strconv.Itoa(t.Attempt()))
	header.Set(headerQueue, string(t.Queue()))
	if s := t.State(); s.TraceParent != "" {
		header.Set(headerTrace, s.TraceParent)
		if s.TraceState != "" {
			header.Set(headerState, s.TraceState)
		}
	}
	// Both times are the store's, on which all processes agree: a receiver compares them
	// with its own clock, and the clock of this machine may be wrong.
	started := t.State().StartedAt
	if deadline, ok := ctx.Deadline(); ok {
		header.Set(headerDeadline, started.Add(time.Until(deadline)).UTC().Format(time.RFC3339))
	}
	return req, h.sign(header, t.ID().String(), started, message)
}

// noAnswer says why there is no answer.
func (h *Handler) noAnswer(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return fmt.Errorf("no answer from the webhook at %s: %w", h.url.Host, withoutURL(err))
}

// withoutURL removes the URL, which may hold secrets, from an error of net/http.
func withoutURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}
