package loop

import (
	"sync"

	"github.com/millrace/millrace/application"
)

// Portion is how much the next step of a loop may take on. After a step that took too
// long it is half of that step, down to one: the same again would take as long. After a
// step that found all it might take it doubles, up to the most. It is safe for
// concurrent use.
type Portion struct {
	most int

	mu   sync.Mutex
	size int
}

// NewPortion makes a portion that begins with the most.
func NewPortion(most int) *Portion { return &Portion{most: most, size: most} }

// Size is how much the next step may take on.
func (p *Portion) Size() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.size
}

// Note notes what became of a step of that size, which has found so much, and reports
// whether to repeat it smaller.
func (p *Portion) Note(size, found int, err error) (smaller bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case application.TookTooLong(err):
		p.size = max(1, min(p.size, size/2))
		return size > 1
	case err == nil && found >= size && size >= p.size:
		p.size = min(2*p.size, p.most)
	}
	return false
}
