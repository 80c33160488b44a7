package httpapi

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestHosts_HaveTheAddressThatARequestHasComeTo(t *testing.T) {
	for _, c := range []struct {
		local, host string
		want        bool
	}{
		{"10.1.2.3", "10.1.2.3:8000", true},
		{"::ffff:10.1.2.3", "10.1.2.3", true},
		{"fe80::1", "[fe80::1%25eth0]:8000", true},
		{"10.1.2.3", "10.1.2.4:8000", false},
		{"10.1.2.3", "evil.example", false},
		{"10.1.2.3", "", true}, // HTTP/1.0, as some balancers ask
	} {
		r := httptest.NewRequest(http.MethodGet, "/readyz", nil)
		r.Host = c.host
		r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(&net.TCPAddr{IP: net.ParseIP(c.local), Port: 8000})))
		if got := newHosts("0.0.0.0:8000", nil).has(r); got != c.want {
			t.Errorf("%q at %s: %v", c.host, c.local, got)
		}
	}
}
