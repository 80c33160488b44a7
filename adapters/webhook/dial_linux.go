package webhook

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/adapters/internal/shortage"
)

// limitUnacked sets TCP_USER_TIMEOUT on a new socket, unless that has taken one of the
// last descriptors.
func limitUnacked(_, _ string, raw syscall.RawConn) error {
	var err, last error
	controlled := raw.Control(func(fd uintptr) {
		if last = shortage.Descriptor(fd); last != nil {
			return
		}
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(unackedTimeout.Milliseconds()))
	})
	if last != nil {
		return fmt.Errorf("connect: %w", last)
	}
	if controlled != nil {
		err = controlled
	}
	if err != nil {
		return fmt.Errorf("set TCP_USER_TIMEOUT: %w", err)
	}
	return nil
}
