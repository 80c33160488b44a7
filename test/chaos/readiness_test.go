package chaos

import (
	"context"
	"database/sql"
	"encoding/json"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"
)

const (
	readinessInterval = 500 * time.Millisecond
	// readyLimit: no program says that it is ready for longer, while nothing goes through.
	readyLimit = 10 * time.Second
	// ready is the status of a program that can do all that it is there for.
	ready = "ready"
)

// readinessSampler asks every program for its readiness, all the time.
type readinessSampler struct {
	client   *http.Client
	end      context.CancelFunc
	sampling sync.WaitGroup

	mu      sync.Mutex
	samples map[*member][]readinessSample
}

// readinessSample is what a program answered; nothing if it did not.
type readinessSample struct {
	at     time.Time
	status string
}

func (r *run) sampleReadiness() *readinessSampler {
	ctx, end := context.WithCancel(r.t.Context())
	s := &readinessSampler{client: &http.Client{Timeout: 3 * time.Second}, end: end, samples: map[*member][]readinessSample{}}
	for _, m := range r.members() {
		s.sampling.Go(func() {
			for next := time.NewTicker(readinessInterval); ctx.Err() == nil; {
				at, status := time.Now(), s.ask(m)
				s.mu.Lock()
				s.samples[m] = append(s.samples[m], readinessSample{at, status})
				s.mu.Unlock()
				select {
				case <-next.C:
				case <-ctx.Done():
					next.Stop()
				}
			}
		})
	}
	r.t.Cleanup(s.stop)
	return s
}

// ask asks a program for its readiness.
func (s *readinessSampler) ask(m *member) string {
	res, err := s.client.Get("http://" + m.addr.get() + "/readyz")
	if err != nil {
		return ""
	}
	defer res.Body.Close()
	var answer struct{ Status string }
	if json.NewDecoder(res.Body).Decode(&answer) != nil {
		return ""
	}
	return answer.Status
}

func (s *readinessSampler) stop() {
	s.end()
	s.sampling.Wait()
	s.client.CloseIdleConnections()
}

// longestReady is how long a program said without a break that it was ready, between from
// and until, and without any progress in between.
func longestReady(samples []readinessSample, from, until time.Time, progress []time.Time) (longest time.Duration) {
	var since time.Time // the first of the samples that say so
	for _, s := range samples {
		if s.at.Before(from) || s.at.After(until) {
			continue
		}
		went := slices.ContainsFunc(progress, func(at time.Time) bool { return at.After(since) && !at.After(s.at) })
		switch {
		case s.status != ready:
			since = time.Time{}
		case since.IsZero() || went:
			since = s.at
		}
		if !since.IsZero() {
			longest = max(longest, s.at.Sub(since))
		}
	}
	return longest
}

// checkReadiness compares what the programs said of their readiness with what went
// through, during faults that prevent everything. An API is not ready while no task is
// accepted or none begins, a worker while none begins.
func (r *run) checkReadiness(p *report) {
	r.ready.stop()
	begun := rows(r.t, r.direct, func(row *sql.Rows, at *time.Time) error { return row.Scan(at) },
		"SELECT at FROM audit WHERE new_status = 'processing' ORDER BY at")
	accepted := make([]time.Time, len(r.load.accepted))
	for i, a := range r.load.accepted {
		accepted[i] = a.at
	}
	for _, s := range r.ready.samples {
		p.ReadinessSamples += len(s)
	}
	limit := r.pace.stretch(readyLimit)
	for _, s := range r.steps {
		for _, f := range s.faults {
			if !f.stops {
				continue
			}
			for i, m := range r.members() {
				took := longestReady(r.ready.samples[m], f.began, f.ended, begun)
				if m.program == "api" {
					took = max(took, longestReady(r.ready.samples[m], f.began, f.ended, accepted))
				}
				p.noteReady(f, took)
				if took > limit {
					p.UntrueReady++
					r.t.Errorf("%s: %s, member %d, said for %s that it was ready while nothing went through", f.name, m.program, i, took)
				}
			}
		}
	}
}

// noteReady notes in the report of the fault how long a program said that it was ready.
func (p *report) noteReady(f fault, took time.Duration) {
	for i := range p.Faults {
		if p.Faults[i].Kind == f.name {
			p.Faults[i].ReadyMS = max(p.Faults[i].ReadyMS, ms(took))
		}
	}
}

func TestLongestReady(t *testing.T) {
	begun := time.Now()
	at := func(second int) time.Time { return begun.Add(time.Duration(second) * time.Second) }
	said := func(statuses ...string) (samples []readinessSample) {
		for i, status := range statuses {
			samples = append(samples, readinessSample{at(i), status})
		}
		return samples
	}
	for name, c := range map[string]struct {
		samples  []readinessSample
		progress []time.Time
		want     time.Duration
	}{
		"ready all the time":         {said(ready, ready, ready, ready, ready), nil, 4 * time.Second},
		"never ready":                {said("unready", "", "degraded"), nil, 0},
		"ready, with a break":        {said(ready, ready, "unready", ready, ready, ready), nil, 2 * time.Second},
		"ready, and something went":  {said(ready, ready, ready, ready, ready), []time.Time{at(1).Add(time.Millisecond)}, 2 * time.Second},
		"something went long before": {said(ready, ready, ready), []time.Time{at(-9)}, 2 * time.Second},
	} {
		if got := longestReady(c.samples, at(0), at(10), c.progress); got != c.want {
			t.Errorf("%s: %s, not %s", name, got, c.want)
		}
	}
}
