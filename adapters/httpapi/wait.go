package httpapi

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/adapters/httpapi/internal/api"
)

// maxWait is the longest that a request waits for a task, in seconds.
const maxWait = 60

// waitOf is how long the client wants to wait: the parameter wait, or else the
// preference of that name, which the response then confirms.
func waitOf(w http.ResponseWriter, params api.GetTaskParams) time.Duration {
	switch {
	case params.Wait != nil:
		return time.Duration(*params.Wait) * time.Second // checkQuery has checked it
	case params.Prefer != nil:
		seconds, ok := preferredWait(*params.Prefer)
		if !ok {
			return 0
		}
		seconds = min(seconds, maxWait)
		w.Header().Set("Preference-Applied", "wait="+strconv.Itoa(seconds))
		return time.Duration(seconds) * time.Second
	}
	return 0
}

// preferredWait finds wait in a list of preferences (RFC 7240). The first of a
// name counts; a value that makes no sense is ignored, as the RFC has it.
func preferredWait(list string) (seconds int, ok bool) {
	for preference := range strings.SplitSeq(list, ",") {
		preference, _, _ = strings.Cut(preference, ";") // parameters of a preference
		name, value, _ := strings.Cut(preference, "=")
		if !strings.EqualFold(strings.TrimSpace(name), "wait") {
			continue
		}
		n, err := strconv.ParseUint(strings.Trim(strings.TrimSpace(value), `"`), 10, 31)
		return int(n), err == nil
	}
	return 0, false
}
