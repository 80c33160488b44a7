package pgconn

import (
	"slices"
	"sync/atomic"
)

// The classes of what the server, and not the statement, lacks: room on its disk, memory, a
// disk that works.
const (
	classResources = "53"
	classSystem    = "58"
	classInternal  = "XX"

	codeDiskFull    = "53100"
	codeServerLimit = "53400" // such as temp_file_limit, which is the operator's choice
)

// Shortage is the last write that failed because the server lacks something. A small
// write may succeed all the same - it finds room in a page that is there - and so says
// nothing of the next one: the shortage lasts until somebody says that it is over.
type Shortage struct{ last atomic.Pointer[error] }

// Lacks reports whether err says that the server lacks something.
func Lacks(err error) bool {
	state := SQLState(err)
	if state == "" || state == codeServerLimit {
		return false
	}
	return slices.Contains([]string{classResources, classSystem, classInternal}, state[:2])
}

// DiskFull reports whether the server's disk is.
func DiskFull(err error) bool { return SQLState(err) == codeDiskFull }

// note notes how a write has ended.
func (s *Shortage) note(err error) {
	if Lacks(err) {
		s.last.Store(&err)
	}
}

// Last returns the write that failed; nil if there is no shortage.
func (s *Shortage) Last() *error { return s.last.Load() }

// Over ends the shortage, unless a write has failed since the given one.
func (s *Shortage) Over(last *error) { s.last.CompareAndSwap(last, nil) }
