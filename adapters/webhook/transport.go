package webhook

import (
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/millrace/millrace/adapters/internal/shortage"
	"github.com/millrace/millrace/application"
)

const (
	// dialTimeout bounds the connection, and the TLS handshake after it.
	dialTimeout = 10 * time.Second
	// unackedTimeout is how long a peer may leave what it was sent unacknowledged: then it
	// is gone, and the connection with it. Without it the kernel tries for a quarter of an hour.
	unackedTimeout = 20 * time.Second
)

// newTransport makes the transport; concurrency is how many idle connections it keeps.
func newTransport(concurrency int) *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: dialTimeout, Control: limitUnacked}).DialContext,
		TLSHandshakeTimeout:   dialTimeout,
		ForceAttemptHTTP2:     true, // a DialContext of one's own turns it off otherwise
		HTTP2:                 &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second},
		MaxIdleConns:          max(concurrency, 1),
		MaxIdleConnsPerHost:   max(concurrency, 1),
		IdleConnTimeout:       90 * time.Second,
		ExpectContinueTimeout: time.Second,
		// It would unfold without a bound; an answer that is compressed although nobody
		// asked for that is for text to decode.
		DisableCompression:     true,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// newClient makes a client that follows no redirect: one would carry the message, and
// what signs it, to somewhere else.
func newClient(transport *http.Transport) *http.Client {
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// loadRoots makes crypto/x509 read the certificates that the system trusts. It does so
// only once, and would trust none for ever if there was no descriptor left at that moment.
func loadRoots(target *url.URL) {
	if target.Scheme == "https" {
		_, _ = x509.SystemCertPool()
	}
}

// exchange is what is known of a request that is under way.
type exchange struct {
	reused   atomic.Bool // the connection had served another request
	written  atomic.Bool // something was sent
	answered atomic.Bool // something came back
}

func (e *exchange) trace(req *http.Request) *http.Request {
	return req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		GotConn:              func(info httptrace.GotConnInfo) { e.reused.Store(info.Reused) },
		WroteHeaderField:     func(string, []string) { e.written.Store(true) },
		GotFirstResponseByte: func() { e.answered.Store(true) },
	}))
}

// do sends the request. If a connection that was kept alive turns out to be closed before
// anything came back, the request is sent once more, on a connection of its own: the
// receiver, or something on the way to it, had given the connection up, and the task must
// not pay for that. It is sent no third time, as the receiver may have begun.
func (h *Handler) do(req *http.Request) (*http.Response, error) {
	var first exchange
	res, err := h.client.Do(first.trace(req)) // Handle closes the body
	switch {
	case err == nil || req.Context().Err() != nil:
		return res, err
	case !first.written.Load() && lacking(err):
		return nil, application.NotStarted(withoutURL(err))
	case !first.reused.Load() || first.answered.Load() || !closedByPeer(err):
		return nil, err
	}
	h.client.CloseIdleConnections() // the others are likely to be closed as well
	again := req.Clone(req.Context())
	if again.Body, err = req.GetBody(); err != nil {
		return nil, err
	}
	return h.once.Do(again)
}

// closedByPeer reports whether err says that the other side has closed the connection.
func closedByPeer(err error) bool {
	for _, closed := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, closed) {
			return true
		}
	}
	return strings.Contains(err.Error(), "server closed idle connection") // net/http does not export it
}

// lacking reports whether there was no connection because this machine lacks something.
func lacking(err error) bool {
	if dns, ok := errors.AsType[*net.DNSError](err); ok { // it keeps the text alone
		return strings.Contains(dns.Err, syscall.EMFILE.Error()) || strings.Contains(dns.Err, syscall.ENFILE.Error())
	}
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial" && shortage.Is(err)
}
