//go:build unix

package shortage

import "syscall"

// reserve is how many file descriptors are left to the rest of the process, such as its
// store and its API; where there are few in all, a quarter of them.
const reserve = 64

// Descriptor returns EMFILE if the new descriptor is among the last ones that the process
// may have. New ones have the lowest number that is free, so the number says how many
// there are. Whoever handles tasks asks it, because no task runs without the store.
func Descriptor(fd uintptr) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return nil //nolint:nilerr // a limit that cannot be read keeps nobody from going on
	}
	all := uint64(limit.Cur) //nolint:unconvert // it is signed on FreeBSD
	if uint64(fd) >= all-min(reserve, all/4) {
		return syscall.EMFILE
	}
	return nil
}
