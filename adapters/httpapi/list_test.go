package httpapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/adapters/httpapi"
	"github.com/millrace/millrace/application"
	"github.com/millrace/millrace/domain"
)

func TestList_Filters(t *testing.T) {
	for name, open := range map[string]func(*testing.T) stores{"SQLite": openStores, "PostgreSQL": openServers} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServiceOn(t, open(t))
			made := map[string]string{} // message by id
			var created []string
			for _, body := range []string{
				`{"message":"a 100% sure_thing","queue":"mail","metadata":{"customer":"c-1","kind":"in:voice"}}`,
				`{"message":"b","queue":"mail","metadata":{"customer":"c-2","kind":"in:voice"}}`,
				`{"message":"c 'quoted'\\","metadata":{"customer":"c-1"}}`,
				`{"message":"d","queue":"other","metadata":{"empty":"","comma":"x,y"}}`,
			} {
				task := s.call(http.MethodPost, "/tasks", body).fields(t)
				made[task["id"].(string)] = task["message"].(string)[:1]
				created = append(created, task["created_at"].(string))
			}
			ended := s.add(completed(""))
			made[ended] = "e"
			finished, _ := s.call(http.MethodGet, "/tasks/"+ended, "").fields(t)["finished_at"].(string)
			for query, want := range map[string]string{
				"":                                  "edcba",
				"queue=mail":                        "ba",
				"queue=mail,other":                  "dba",
				"queue=other&queue=mail&queue=mail": "dba",
				"queue=none":                        "",
				"metadata=customer:c-1":             "ca",
				"metadata=kind:in:voice":            "ba",
				"metadata=kind:in:voice&metadata=customer:c-1": "a",
				"metadata=customer:":                           "",
				"metadata=empty:":                              "d",
				"metadata=comma:x,y":                           "d",
				"text=" + url.QueryEscape("100%"):              "a",
				"text=sure_thing":                              "a",
				"text=SURE":                                    "",
				"text=" + url.QueryEscape(`'quoted'\`):         "c",
				"text=%25":                                     "a",
				"text=a&queue=mail&status=pending":             "a",
				"created_from=" + created[1]:                   "edcb",
				"created_before=" + created[1]:                 "a",
				"created_from=" + created[1] + "&created_before=" + created[3]:            "cb",
				"finished_from=" + finished:                                               "e",
				"finished_before=" + finished:                                             "",
				"finished_from=0001-01-01T00:00:01Z&finished_before=9999-12-31T23:59:59Z": "e",
				"status=completed,failed&created_from=" + created[0]:                      "e",
				"queue=&metadata=&text=&created_from=":                                    "edcba",
			} {
				for _, limit := range []string{"", "limit=1&"} { // a page at a time
					got := ""
					for _, id := range s.follow("?" + limit + query) {
						got += made[id]
					}
					if got != want {
						t.Errorf("?%s%s: %q, want %q", limit, query, got, want)
					}
				}
			}
		})
	}
}

func TestList_NamesTheFilterThatIsWrong(t *testing.T) {
	s := newService(t)
	var many []string
	for i := range domain.MaxFilterQueues + 1 {
		many = append(many, fmt.Sprint("q", i))
	}
	for query, detail := range map[string]string{
		"queue=Mail":                                             `queue: invalid queue name "Mail"`,
		"queue=mail,":                                            `queue: invalid queue name ""`,
		"queue=" + strings.Join(many, ","):                       "queue: must be at most 100 queues, not 101",
		"created_from=2026-01-15":                                "created_from: must be a time as in RFC 3339",
		"created_before=2026-01-15T09:30:00+01:00":               "created_before: must be a time as in RFC 3339",
		"finished_from=now":                                      "finished_from: must be a time as in RFC 3339",
		"finished_before=2026-13-15T09:30:00Z":                   "finished_before: must be a time as in RFC 3339",
		"created_before=0001-01-01T01:00:00%2B01:00":             "created_before: must not be 0001-01-01T00:00:00Z",
		"finished_before=2026-01-15T09:30:00Z&finished_before=x": "finished_before: must not be repeated",
		"metadata=customer":                                      `metadata: must be key:value, not "customer"`,
		"metadata=:x":                                            `metadata: invalid key ""`,
		"metadata=%ff:x":                                         "invalid key",
		"metadata=a:%00":                                         "metadata: the value of a must be valid UTF-8",
		"metadata=a:%ff":                                         "metadata: the value of a must be valid UTF-8",
		"metadata=a:b&metadata=a:c":                              `metadata: has two different values for key "a"`,
		"text=%00":                                               "text: must be valid UTF-8",
		"text=%ff":                                               "text: must be valid UTF-8",
		"text=" + strings.Repeat("x", 1001):                      "text: must be at most 1000 bytes long, not 1001",
		"text=a&text=b":                                          "text: must not be repeated",
		"created_from=x&metadata=y&queue=Z&text=a":               "created_from: must be a time as in RFC 3339, such as 2026-01-15T09:30:00Z; metadata: must be key:value, not \"y\"; queue: ",
	} {
		a := s.call(http.MethodGet, "/tasks?"+query, "")
		wantProblem(t, a, http.StatusUnprocessableEntity, "invalid", detail)
		for _, e := range a.problem(t).Errors {
			if e.Parameter == nil || e.Pointer != nil {
				t.Errorf("%s: %s", query, a.body)
			}
		}
	}
}

func TestList_ACursorBelongsToAllItsFilters(t *testing.T) {
	s := newService(t)
	for range 2 {
		s.call(http.MethodPost, "/tasks", `{"message":"x","queue":"mail","metadata":{"a":"b","c":"d"}}`)
	}
	const filters = "queue=mail&metadata=a:b&metadata=c:d&text=x&created_from=2026-01-15T00:00:00Z"
	cursor, _ := s.call(http.MethodGet, "/tasks?limit=1&"+filters, "").fields(t)["next_cursor"].(string)
	for _, same := range []string{
		filters, "metadata=c:d&queue=mail,mail&metadata=a:b&text=x&created_from=2026-01-15T01:00:00.000%2B01:00&limit=7",
	} {
		if a := s.call(http.MethodGet, "/tasks?"+same+"&cursor="+cursor, ""); a.status != http.StatusOK {
			t.Errorf("%s: %d %s", same, a.status, a.body)
		}
	}
	for _, other := range []string{
		"", "queue=mail", strings.Replace(filters, "=mail", "=mails", 1), strings.Replace(filters, "a:b", "a:c", 1), strings.Replace(filters, "text=x", "text=y", 1),
		strings.Replace(filters, "created_from", "created_before", 1), strings.Replace(filters, "created_from", "finished_from", 1),
		strings.Replace(filters, "00Z", "01Z", 1), filters + "&status=pending", strings.Replace(filters, "&text=x", "", 1),
	} {
		wantProblem(t, s.call(http.MethodGet, "/tasks?"+other+"&cursor="+cursor, ""), http.StatusUnprocessableEntity, "invalid", "cursor: belongs to a list with different filters")
	}
}

// A search for what is rare is answered after so many tasks, and goes on.
func TestList_SaysThatItStoppedSearching(t *testing.T) {
	s := newService(t)
	oldest := s.call(http.MethodPost, "/tasks", `{"message":"a rare one"}`).fields(t)["id"]
	s.addMany(application.TextWindow)
	type page struct {
		Tasks      []struct{ ID string }
		NextCursor string `json:"next_cursor"`
		Window     *int
	}
	read := func(path string) (p page, link string) {
		t.Helper()
		a := s.call(http.MethodGet, path, "")
		if err := json.Unmarshal([]byte(a.body), &p); err != nil || a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.body)
		}
		return p, a.header.Get("Link")
	}
	first, link := read("/tasks?text=rare&limit=5")
	if len(first.Tasks) != 0 || first.NextCursor == "" || first.Window == nil || *first.Window != application.TextWindow {
		t.Fatalf("%+v", first)
	}
	next, ok := strings.CutSuffix(strings.TrimPrefix(link, "<"), `>; rel="next"`)
	if !ok {
		t.Fatalf("Link %q", link)
	}
	second, link := read(next)
	if len(second.Tasks) != 1 || second.Tasks[0].ID != oldest || second.NextCursor != "" || second.Window != nil || link != "" {
		t.Errorf("%+v %q", second, link)
	}
	if diff := cmp.Diff([]string{oldest.(string)}, s.follow("?text=rare")); diff != "" {
		t.Error(diff)
	}
	if full, _ := read("/tasks?limit=5"); full.Window != nil || len(full.Tasks) != 5 {
		t.Errorf("a page that is full: %+v", full)
	}
}

// A page of large tasks ends by their bytes, and the next one goes on.
func TestList_APageEndsByBytes(t *testing.T) {
	for name, open := range map[string]func(*testing.T) stores{"SQLite": openStores, "PostgreSQL": openServers} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const size = 256 << 10
			s := newServiceOn(t, open(t), func(cfg *httpapi.Config) { cfg.MessageBytes = size })
			large := strings.Repeat("x", size)
			want := make([]string, 70)
			for i := range want {
				want[len(want)-1-i] = s.submit(large)
			}
			got, next := []string{}, "/tasks?limit=1000"
			for next != "" {
				a := s.call(http.MethodGet, next, "")
				var page struct {
					Tasks  []struct{ ID, Message string }
					Window int
				}
				if err := json.Unmarshal([]byte(a.body), &page); err != nil || len(page.Tasks) == 0 {
					t.Fatalf("%d %.300s %v", a.status, a.body, err)
				}
				if len(a.body) > application.PageBytes+len(page.Tasks)*1000 || page.Window != 0 {
					t.Errorf("a page of %d bytes, %d tasks, window %d", len(a.body), len(page.Tasks), page.Window)
				}
				for _, task := range page.Tasks {
					if got = append(got, task.ID); task.Message != large {
						t.Errorf("task %s has a message of %d bytes", task.ID, len(task.Message))
					}
				}
				next, _, _ = strings.Cut(strings.TrimPrefix(a.header.Get("Link"), "<"), ">")
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// omitting is a search that cannot read a task.
type omitting struct {
	application.TaskSearch
	id domain.TaskID
}

func (s omitting) List(ctx context.Context, q application.TaskQuery) (application.SearchResult, error) {
	found, err := s.TaskSearch.List(ctx, q)
	found.Omitted = append(found.Omitted, s.id)
	return found, err
}

func TestList_NamesWhatCannotBeRead(t *testing.T) {
	on, id := openStores(t), domain.NewTaskID(time.Now())
	on.search = omitting{on.search, id}
	s := newServiceOn(t, on)
	task := s.submit("x")
	a := s.call(http.MethodGet, "/tasks", "")
	if !strings.Contains(a.body, `"id":"`+task) || !strings.Contains(a.body, `],"omitted":["`+id.String()+`"]`) {
		t.Errorf("%d %s", a.status, a.body)
	}
}
