//go:build unix

package redis

import (
	"crypto/tls"
	"errors"
	"net"
	"syscall"
)

// closedByPeer looks, without waiting, whether an idle connection was closed or has
// received what nobody has asked for. With TLS such bytes may belong to the protocol, and
// only the end of the stream counts.
func closedByPeer(c net.Conn) bool {
	encrypted, isTLS := c.(*tls.Conn)
	if isTLS {
		c = encrypted.NetConn()
	}
	socket, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return true
	}
	closed := false
	err = raw.Control(func(fd uintptr) {
		var b [1]byte
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		switch {
		case errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EINTR):
		case err != nil || n == 0:
			closed = true
		default:
			closed = !isTLS
		}
	})
	return closed || err != nil
}
