//go:build unix

package bootstrap

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// detached is the stream under a file descriptor of its own. Package os ends the process
// when nobody reads descriptor 1 or 2 any more; under another one a write just fails.
func detached(f *os.File) io.Writer {
	raw, err := f.SyscallConn()
	if err != nil {
		return f
	}
	own := -1
	err = raw.Control(func(fd uintptr) {
		if own, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 3); err != nil {
			own = -1
		}
	})
	if err != nil || own < 0 {
		return f
	}
	return os.NewFile(uintptr(own), f.Name())
}
