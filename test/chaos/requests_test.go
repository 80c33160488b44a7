package chaos

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// bulk is an action on all tasks of a group that a client has asked for.
type bulk struct {
	action string
	group  string // empty: of all groups
	sent   time.Time
	start  int64  // by the clock of the load
	id     string // empty: there was no answer that says whether it was accepted
	ended  int64  // it was done, and seen to be, by then; 0: not known
}

// means reports whether the action is about the tasks of a group.
func (b *bulk) means(group string) bool { return group != "" && (b.group == "" || b.group == group) }

// groupLasts is how long tasks go to the same group.
const groupLasts = 2 * time.Second

// group is the one that tasks went to so many groups ago.
func (l *load) group(ago int) string {
	return fmt.Sprintf("group-%d", max(0, int(time.Since(l.begun)/groupLasts)-ago))
}

// bulk begins an action on all tasks of one of the latest groups.
func (l *load) bulk(r *rand.Rand, patience time.Duration) {
	b := &bulk{action: "cancel", group: l.group(r.IntN(4)), sent: time.Now(), start: l.since()}
	only := "pending"
	if r.IntN(2) == 0 {
		b.action, only = "retry", "failed"
	}
	filter := fmt.Sprintf(`{"metadata":{"group":%q}}`, b.group)
	if r.IntN(8) == 0 { // many steps
		b.group, filter = "", `{"metadata":{"kind":"grouped"}}`
	}
	if r.IntN(2) == 0 { // which makes no difference to what is changed
		filter = strings.TrimSuffix(filter, "}") + fmt.Sprintf(`,"status":[%q]}`, only)
	}
	what := fmt.Sprintf(`{"action":%q,"filter":%s,"dry_run":%t}`, b.action, filter, r.IntN(5) == 0)
	dry := strings.HasSuffix(what, "true}")
	if !dry {
		l.mu.Lock()
		l.bulks = append(l.bulks, b)
		l.mu.Unlock()
	}
	a := l.call(r, patience, request{method: http.MethodPost, path: "/tasks/bulk", body: what})
	if dry {
		l.count("count", a)
		l.expect(a, "a dry run", http.StatusOK, http.StatusServiceUnavailable)
		return
	}
	l.count("bulk", a)
	l.expect(a, "an action on many tasks", http.StatusAccepted, http.StatusServiceUnavailable)
	if a.status != http.StatusAccepted {
		return
	}
	if at := a.header.Get("Location"); a.ID == "" || at != "/bulk/"+a.ID {
		l.unexpected("action %q is said to be at %q", a.ID, at)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	b.id = a.ID
}

// progress looks how far one of the actions is that were accepted.
func (l *load) progress(r *rand.Rand, patience time.Duration) {
	l.mu.Lock()
	var id string
	for range 10 {
		if len(l.bulks) > 0 && id == "" {
			id = l.bulks[r.IntN(len(l.bulks))].id
		}
	}
	l.mu.Unlock()
	if id == "" {
		return
	}
	a := l.call(r, patience, request{method: http.MethodGet, path: "/bulk/" + id})
	l.count("progress", a)
	l.expect(a, "a question for the progress of an action that was accepted", http.StatusOK, http.StatusServiceUnavailable)
	if a.status == http.StatusOK && (a.ID != id || a.Status != "running" && a.Status != "done") {
		l.unexpected("action %s is shown as %s", id, a.text)
	}
}

// list reads a page, and looks whether it holds what was asked for.
func (l *load) list(r *rand.Rand, patience time.Duration) {
	filter := url.Values{"limit": {fmt.Sprint(1 + r.IntN(20))}}
	fits := func(shown) bool { return true }
	and := func(name, value string, also func(shown) bool) {
		before := fits
		filter.Set(name, value)
		fits = func(t shown) bool { return before(t) && also(t) }
	}
	if r.IntN(2) == 0 {
		want := []status{pending, processing, completed, canceled, failed}[r.IntN(5)]
		and("status", string(want), func(t shown) bool { return t.Status == string(want) })
	}
	if r.IntN(2) == 0 {
		queue := taskSpec{Queue: drawQueue(r)}.queue()
		and("queue", queue, func(t shown) bool { return t.Queue == queue })
	}
	if r.IntN(2) == 0 {
		group := l.group(r.IntN(10))
		and("metadata", "group:"+group, func(t shown) bool { return t.Metadata["group"] == group })
	}
	if r.IntN(4) == 0 {
		client := fmt.Sprintf("client %d,", r.IntN(clients))
		and("text", client, func(t shown) bool { return strings.Contains(t.Message, client) })
	}
	a := l.call(r, patience, request{method: http.MethodGet, path: "/tasks?" + filter.Encode()})
	l.count("list", a)
	l.expect(a, "a list", http.StatusOK, http.StatusServiceUnavailable)
	for _, t := range a.Tasks {
		if !fits(t) {
			l.unexpected("a list of %s holds %+v", filter.Encode(), t)
		}
	}
}

// queues reads the queues. The limit of one of them is set before its first task
// and never changed, so nobody may see more of it run.
func (l *load) queues(r *rand.Rand, patience time.Duration) {
	a := l.call(r, patience, request{method: http.MethodGet, path: "/queues"})
	l.count("queues", a)
	l.expect(a, "a list of queues", http.StatusOK, http.StatusServiceUnavailable)
	for _, q := range a.Queues {
		if q.Name == few && q.MaxRunning != nil && q.Processing > *q.MaxRunning {
			l.unexpected("%d tasks of %s run, of which at most %d may", q.Processing, q.Name, *q.MaxRunning)
		}
	}
}

// explain asks why a task does not run.
func (l *load) explain(of acceptance, r *rand.Rand, patience time.Duration) bool {
	a := l.call(r, patience, request{method: http.MethodGet, path: "/tasks/" + of.id + "/explain"})
	l.count("explain", a)
	l.expect(a, "a question why a task does not run", http.StatusOK, http.StatusServiceUnavailable)
	if a.status == http.StatusOK && len(a.Reasons) == 0 {
		l.unexpected("an explanation without a reason: %s", a.text)
	}
	return a.status == http.StatusOK
}
