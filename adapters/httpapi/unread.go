package httpapi

import (
	"net/http"
	"time"
)

// Whoever answers before the body was read, as most refusals do, leaves its rest to
// net/http: it reads on before it sends the answer, so that the connection can serve the
// next request, and again before it closes the connection. A client that sends slowly
// would hold up both for all of ReadTimeout.
const (
	// restTime is how long an answer waits for the rest of the body. Most have arrived
	// by then, and those connections are kept.
	restTime = 100 * time.Millisecond
	// lingerTime is how long the server reads on once it has sent an answer that closes the
	// connection: a close with bytes unread can cost the client that answer (RFC 9112,
	// section 9.6).
	lingerTime = 500 * time.Millisecond
)

// boundUnread bounds the wait for the rest of a body that was not read.
func (w *trackingWriter) boundUnread(d time.Duration) {
	if w.bodyUnread { // an error means that there is no connection, as in tests
		_ = http.NewResponseController(w.ResponseWriter).SetReadDeadline(time.Now().Add(d))
	}
}

// leaveBody sends the answer to a request whose body was not read, and bounds how long
// its connection lingers.
func (w *trackingWriter) leaveBody() {
	if w.bodyUnread && w.wroteHeader {
		_ = http.NewResponseController(w.ResponseWriter).Flush()
		w.boundUnread(lingerTime)
	}
}
