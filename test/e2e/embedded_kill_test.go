package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/test/programs"
)

// load is clients that post tasks to a program that may die at any moment, and
// note what it has accepted.
type load struct {
	mu       sync.Mutex
	accepted []string
	stop     chan struct{}
	clients  sync.WaitGroup
}

func startLoad(base string, clients int) *load {
	l := &load{stop: make(chan struct{})}
	for c := range clients {
		l.clients.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-l.stop:
					return
				default:
				}
				if id, ok := l.post(base, fmt.Sprintf("client %d task %d", c, i)); ok {
					l.mu.Lock()
					l.accepted = append(l.accepted, id)
					l.mu.Unlock()
				} else {
					time.Sleep(10 * time.Millisecond)
				}
			}
		})
	}
	return l
}

// post submits a task; an answer that is cut off is none.
func (l *load) post(base, message string) (string, bool) {
	res, err := http.Post(base+"/tasks", "application/json", strings.NewReader(`{"message":"`+message+`"}`))
	if err != nil {
		return "", false
	}
	defer res.Body.Close()
	var got task
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusCreated || json.Unmarshal(body, &got) != nil {
		return "", false
	}
	return got.ID, true
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.accepted)
}

func TestMillrace_LosesNothingThatItAcceptedWhenKilledUnderLoad(t *testing.T) {
	t.Parallel()
	const kills, more = 4, 150
	dir := t.TempDir()
	settings := []string{"HANDLER=sleep:30ms", "MAX_RESCUES=100", "LEASE_TIMEOUT=1h"}
	d := embed(t, dir, settings...)
	l := startLoad("http://"+d.addr, 6)
	for range kills {
		enough := l.count() + more
		programs.Eventually(t, programs.Patience, "tasks are accepted", func() bool { return l.count() >= enough })
		d.api.Kill()
		d.api = programs.Start(t, dir, append([]string{"LISTEN_ADDR=" + d.addr}, settings...), "millrace", "serve")
	}
	close(l.stop)
	l.clients.Wait()
	d.ready()
	programs.Eventually(t, programs.Patience, "nothing is left to do, sooner than a lease lapses", func() bool { return d.count("pending")+d.count("processing") == 0 })
	for _, id := range l.accepted {
		if got := d.get(id); got.Status != "completed" || got.Failures != 0 {
			t.Errorf("accepted, and then: %+v", got)
		}
	}
	if failed := d.count("failed"); failed != 0 {
		t.Errorf("%d tasks have failed", failed)
	}
	t.Logf("%d tasks over %d kills", len(l.accepted), kills)
	d.api.Stop()
}
