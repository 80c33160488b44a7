package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// link is the way from one program to one server.
type link struct {
	t     *testing.T
	proxy *toxiproxy.Proxy
}

// newLink makes a way to the server on a port of 127.0.0.1.
func newLink(t *testing.T, name string, port int) *link {
	t.Helper()
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	for tries := 1; ; tries++ {
		// Below the ports of outgoing connections: a link that is cut gets its port back.
		at := net.JoinHostPort("127.0.0.1", strconv.Itoa(20000+rand.IntN(12000)))
		l := &link{t: t, proxy: toxiproxy.NewProxy(server, name, at, fmt.Sprintf("127.0.0.1:%d", port))}
		err := l.proxy.Start()
		if err == nil {
			t.Cleanup(l.proxy.Stop)
			return l
		}
		if tries == 20 {
			t.Fatalf("start a proxy: %v", err)
		}
	}
}

// addr is where the program connects to.
func (l *link) addr() string { return l.proxy.Listen }

// cut closes all connections, and takes new ones only after restore.
func (l *link) cut() { l.proxy.Stop() }

func (l *link) restore() {
	l.t.Helper()
	if err := l.proxy.Start(); err != nil {
		l.t.Fatalf("restore the link %s: %v", l.proxy.Name, err)
	}
}

// addToxic puts a toxic on both directions; removeToxics takes all off again.
func (l *link) addToxic(toxic, attributes string) {
	l.t.Helper()
	for _, direction := range []string{"upstream", "downstream"} {
		_, err := l.proxy.Toxics.AddToxicJson(strings.NewReader(
			fmt.Sprintf(`{"type":%q,"stream":%q,"attributes":%s}`, toxic, direction, attributes)))
		if err != nil {
			l.t.Fatalf("put %s on the link %s: %v", toxic, l.proxy.Name, err)
		}
	}
}

func (l *link) removeToxics() { l.proxy.Toxics.ResetToxics(context.Background()) }
