// Package shortage tells errors that say what this machine or this process lacks from
// those that are about the work.
package shortage

import (
	"errors"
	"syscall"
)

// lacking are the errors of a system call that could not get what it needed, and might
// later: descriptors, processes, memory, local ports.
var lacking = []syscall.Errno{
	syscall.EMFILE, syscall.ENFILE, syscall.EAGAIN, syscall.ENOMEM, syscall.ENOBUFS, syscall.EADDRNOTAVAIL,
}

// Is reports whether err is such an error. It is for calls that start something: in the
// course of the work, EAGAIN and others have further meanings.
func Is(err error) bool {
	for _, e := range lacking {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
