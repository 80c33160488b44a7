package webhook

import (
	"net"
	"net/http/httptest"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestDial_LimitsHowLongAPeerMaySwallowPackets(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(nil)
	t.Cleanup(server.Close)
	conn, err := newTransport(1).DialContext(t.Context(), "tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var got int
	controlled := raw.Control(func(fd uintptr) { got, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT) })
	if controlled != nil || err != nil || time.Duration(got)*time.Millisecond != unackedTimeout {
		t.Errorf("TCP_USER_TIMEOUT %d, errors %v, %v", got, controlled, err)
	}
}
