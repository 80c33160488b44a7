package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/test/programs"
	"github.com/millrace/millrace/test/services"
)

// repeat posts the task with the key to the addresses in turn until one answers with
// success, as a careful client does.
func repeat(t *testing.T, addrs []string, first int, key, body string) (got task, replayed bool) {
	deadline := time.Now().Add(programs.Patience)
	for i := first; time.Now().Before(deadline); i++ {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addrs[i%len(addrs)]+"/tasks", strings.NewReader(body))
		if err != nil {
			t.Error(err)
			return task{}, false
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Idempotency-Key", key)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			time.Sleep(20 * time.Millisecond)
			continue
		}
		text, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		switch {
		case err != nil:
		case res.StatusCode == http.StatusCreated:
			if err := json.Unmarshal(text, &got); err != nil {
				t.Error(err)
			}
			return got, res.Header.Get("Idempotency-Replayed") == "true"
		case res.StatusCode != http.StatusServiceUnavailable:
			t.Errorf("%d %s", res.StatusCode, text)
			return task{}, false
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Error("no answer within " + programs.Patience.String())
	return task{}, false
}

func TestIdempotencyKey_MakesOneTaskOfManyRequestsThoughAnAPIIsKilled(t *testing.T) {
	t.Parallel()
	const clients = 200
	d := deployAll(t)
	other := programs.FreeAddr(t)
	victim := d.program("api", "LISTEN_ADDR="+other)
	programs.WaitReady(t, other)
	addrs := []string{d.addr, other}

	for round := range 5 {
		var ids sync.Map
		var first, answered atomic.Int64
		var posting sync.WaitGroup
		for i := range clients {
			posting.Go(func() {
				got, replayed := repeat(t, addrs, i, fmt.Sprintf("round-%d", round), `{"message":"only once"}`)
				ids.Store(got.ID, true)
				if answered.Add(1); !replayed {
					first.Add(1)
				}
			})
		}
		if round == 2 { // in the middle
			programs.Eventually(t, programs.Patience, "some were answered", func() bool { return answered.Load() > 10 })
			victim.Kill()
		}
		posting.Wait()
		n := 0
		ids.Range(func(id, _ any) bool { n++; return id != "" })
		// The answer that was not a replay may have been lost with the process.
		if n != 1 || first.Load() > 1 || round != 2 && first.Load() != 1 {
			t.Errorf("round %d: %d tasks, %d answers that are no replay", round, n, first.Load())
		}
	}
	if n := d.count("pending"); n != 5 {
		t.Errorf("%d tasks are stored, not 5", n)
	}
}

func TestIdempotencyKey_HoldsWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	redis := services.StartRedis(t)
	d := deploy(t, services.PostgreSQL(t), redis.URL())
	d.worker()
	redis.Kill()
	one, replayed := repeat(t, []string{d.addr}, 0, "k", `{"message":"once"}`)
	if replayed {
		t.Error("the first answer says that it is a replay")
	}
	two, replayed := repeat(t, []string{d.addr}, 0, `"k"`, `{"message":"once"}`)
	if !replayed || two.ID != one.ID {
		t.Errorf("the repeat made task %s, replayed %t; the first was %s", two.ID, replayed, one.ID)
	}
	redis.Start()
	if got := d.becomes(one.ID, "completed"); got.Attempt != 1 {
		t.Errorf("attempt %d", got.Attempt)
	}
	if n := d.count("completed") + d.count("pending"); n != 1 {
		t.Errorf("%d tasks are stored", n)
	}
}
