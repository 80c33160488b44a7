package httpapi

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/millrace/millrace/domain"
)

// AnyHost among the allowed hosts allows all of them.
const AnyHost = "*"

// hosts are the names that the service answers for besides localhost, in lower case and
// without ports.
type hosts []string

// newHosts are the host of the listen address and those that are allowed.
func newHosts(listenAddr string, allowed []string) hosts {
	var all hosts
	for _, host := range append([]string{listenAddr}, allowed...) {
		if host = hostOf(strings.TrimSpace(host)); host != "" {
			all = append(all, host)
		}
	}
	return all
}

// has reports whether the service answers for what a request's Host header says. It does
// for every IP address: a page can make a name point here, and no address. A request
// without a host comes from a program: every browser sends one.
func (all hosts) has(hostport string) bool {
	host := hostOf(hostport)
	return host == "" || host == "localhost" || slices.Contains(all, host) || slices.Contains(all, AnyHost) || isAddress(host)
}

func isAddress(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}

// hostOf is the host of host:port, as hosts are compared.
func hostOf(hostport string) string {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil { // there is no port
		host = strings.TrimSuffix(strings.TrimPrefix(hostport, "["), "]")
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// checkHost refuses requests for a host that is not this service's. It stands before
// all else: a page can make a name of its own point to a Millrace on its visitor's
// machine, and is then of the same origin to the browser.
func (m *middleware) checkHost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !m.hosts.has(r.Host) {
			m.fail(w, r, misdirected.errorf("the service does not answer for the host %s; its operator can add it to ALLOWED_HOSTS", domain.Quoted(r.Host)))
			return
		}
		next.ServeHTTP(w, r)
	})
}
