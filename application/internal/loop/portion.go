package loop

import (
	"sync"

	"github.com/millrace/millrace/application"
)

// Portion is how much the next step of a loop may take on. After a step that took too
// long it is half of that step, down to one: the same again would take as long. After a
// step that found all it might take it doubles, up to the most. If the larger step then
// takes too long, it takes twice as many full steps until the next doubling: a store that
// stays slow must not fail every other step. It is safe for concurrent use.
type Portion struct {
	most int

	mu    sync.Mutex
	size  int
	full  int  // steps of that size that found all they might
	pause int  // how many of them the next doubling takes
	grown bool // the last change was a doubling
}

// maxPause bounds how slowly a portion grows back once the store is well.
const maxPause = 64

// NewPortion makes a portion that begins with the most.
func NewPortion(most int) *Portion { return &Portion{most: most, size: most, pause: 1} }

// Size is how much the next step may take on.
func (p *Portion) Size() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.size
}

// Reduced reports whether a step of that size is smaller than the first was.
func (p *Portion) Reduced(size int) bool { return size < p.most }

// Note notes what became of a step of that size, which has found so much, and reports
// whether to repeat it smaller.
func (p *Portion) Note(size, found int, err error) (smaller bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case application.TookTooLong(err):
		p.shrink(size)
		return size > 1
	case err == nil && found >= size && size >= p.size:
		p.grow()
	}
	return false
}

// NoteSlow notes a step of that size that was done, and took longer than it should: the
// next is half of it, as after one that took too long.
func (p *Portion) NoteSlow(size int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shrink(size)
}

// shrink notes a step that took too long, while the caller has the lock.
func (p *Portion) shrink(size int) {
	if p.grown {
		p.pause = min(2*p.pause, maxPause)
	}
	p.size, p.full, p.grown = max(1, min(p.size, size/2)), 0, false
}

// grow notes a full step, while the caller has the lock.
func (p *Portion) grow() {
	switch p.full++; {
	case p.size == p.most:
		p.full, p.pause, p.grown = 0, 1, false
	case p.full >= p.pause:
		p.size, p.full, p.grown = min(2*p.size, p.most), 0, true
	}
}
