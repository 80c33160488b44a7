package worker

import (
	"sync"
	"time"

	"github.com/millrace/millrace/application"
)

// pullPatience is how long one turn of pull may take: a Pull returns every few
// seconds, with or without entries, and a claim takes milliseconds.
const pullPatience = 15 * time.Second

// pulse knows by when each loop has to show progress.
type pulse struct {
	mu  sync.Mutex
	due map[application.Loop]time.Time
}

// within says that the loop has made progress, and does so again by the given time.
func (p *pulse) within(loop application.Loop, by time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.due == nil {
		p.due = map[application.Loop]time.Time{}
	}
	p.due[loop] = by
}

// begin says that the loop makes progress by the given time, unless it has said
// when before, and not kept it yet.
func (p *pulse) begin(loop application.Loop, by time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, begun := p.due[loop]; begun {
		return
	}
	if p.due == nil {
		p.due = map[application.Loop]time.Time{}
	}
	p.due[loop] = by
}

// rest says that the loop waits for something that may take any time.
func (p *pulse) rest(loop application.Loop) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.due, loop)
}

// overdue names a loop that has missed its time.
func (p *pulse) overdue(now time.Time) (application.Loop, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for loop, by := range p.due {
		if now.After(by) {
			return loop, true
		}
	}
	return "", false
}
